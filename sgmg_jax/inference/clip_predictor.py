"""Segment clips by many sentences at once, at fixed shapes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax import types
from sgmg_jax.inference import preprocess
from sgmg_jax.model import sgmg

_logger = logging.getLogger(__name__)

# (frames uint8[T, H, W, 3], E sentences) -> masks bool[E, T, H, W].
Predict = Callable[[np.ndarray, Sequence[str]], np.ndarray]


class ClipPredictor:
  """Segments clips by many sentences at once, at fixed shapes.

  The same numbers as `inference.predictor`, faster where every clip has many
  sentences: they go through the model in groups of `group`.
  """

  def __init__(
    self,
    model: sgmg.SgMg,
    tokenizer: Any,
    *,
    max_tokens: int,
    group: int = 8,
    on_truncation: Callable[[str], None] = _logger.warning,
  ):
    self._tokenizer = tokenizer
    self._max_tokens = max_tokens
    self._on_truncation = on_truncation
    self._group = group

    @jax.jit
    def encode(params, clip, size, num_frames):
      frames, pixel_valid = preprocess.normalise(clip, size)
      video = model.apply(
        {"params": params},
        frames,
        pixel_valid,
        size,
        num_frames,
        method="encode_video",
      )
      return types.repeat_video(video, group)

    @jax.jit
    def segment(params, video, tokens, token_valid):
      apply = functools.partial(model.apply, {"params": params})
      text = apply(tokens, token_valid, method="encode_text")
      fused = apply(video, text, method="fuse")
      decoded = apply(fused, video, text, method="transform")
      logits, _ = apply(decoded, video, method="segment")
      return logits > 0

    self._encode, self._segment = encode, segment

  def with_params(self, params: types.Params) -> Predict:
    """Returns the function that segments clips with these parameters."""
    return functools.partial(self._predict, params)

  def _predict(self, params, frames, expressions):
    count, height, width, _ = frames.shape
    geometry = preprocess.plan_geometry(height, width, min(height, width), None)
    if geometry.size != (height, width):
      raise ValueError(f"frames of {height}x{width} are too small to predict")
    clip = preprocess.pad_clip(list(frames), geometry)
    size = np.array([geometry.size], np.int32)
    video = self._encode(params, clip, size, np.int32(count))
    masks = []
    for start in range(0, len(expressions), self._group):
      part = list(expressions[start : start + self._group])
      padded = part + part[:1] * (self._group - len(part))
      tokens, token_valid = tokenizer_lib.encode(
        self._tokenizer, padded, self._max_tokens, self._on_truncation
      )
      found = np.asarray(self._segment(params, video, tokens, token_valid))
      masks.append(found[: len(part), :count, :height, :width])
    return np.concatenate(masks)
