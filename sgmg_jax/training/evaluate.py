"""J&F on RefShapes, also against sentences about other objects.

The control "swapped" scores each object against a sentence about another
object of the same clip: a model that segments the most striking object
whatever is said scores the same there, one that listens scores low.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax import types
from sgmg_jax.evaluation import measures
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.model import sgmg
from sgmg_jax.training import forward, run_tokenizer

# (frames uint8[T, H, W, 3], E sentences) -> masks bool[E, T, H, W].
Predict = Callable[[np.ndarray, Sequence[str]], np.ndarray]


class ClipPredictor:
  """Segments clips by many sentences at once, at fixed shapes.

  The same numbers as `inference.predictor`, faster where every clip has many
  sentences: they go through the model in groups of `group`.
  """

  def __init__(
    self, model: sgmg.SgMg, tokenizer: Any, *, max_tokens: int, group: int = 8
  ):
    self._tokenizer = tokenizer
    self._max_tokens = max_tokens
    self._truncations = run_tokenizer.TruncationCounter()
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
      return forward.repeat_video(video, group)

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
    """The function that segments clips with these parameters."""
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
        self._tokenizer, padded, self._max_tokens, self._truncations
      )
      found = np.asarray(self._segment(params, video, tokens, token_valid))
      masks.append(found[: len(part), :count, :height, :width])
    return np.concatenate(masks)


def score(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
  """(J, F) of one expression, means over frames, in percent.

  Args:
    pred: bool[T, H, W].
    truth: bool[T, H, W].
  """
  j = measures.region_similarity(pred, truth).mean()
  f = measures.boundary_measure(pred, truth).mean()
  return 100.0 * float(j), 100.0 * float(f)


def evaluate_refshapes(
  predict: Predict,
  *,
  split: str,
  num_clips: int,
  num_frames: int,
  height: int,
  width: int,
  progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
  """Scores the first `num_clips` clips of a split.

  Args:
    predict: see `Predict`.
    split: of RefShapes.
    num_clips: how many clips, all their sentences.
    num_frames, height, width: of each clip.
    progress: called with 1 after each clip.

  Returns:
    Percentages: `j`, `f`, `j_and_f` (means over sentences), `swapped` (J&F
    against the sentence of another object), `j_and_f/<kind>` per kind of
    sentence; and the number of `sentences`.
  """
  found = collections.defaultdict(list)
  for index in range(num_clips):
    clip = dataset.generate_clip(
      split, index, num_frames=num_frames, height=height, width=width
    )
    masks = predict(clip.frames, [e.text for e in clip.expressions])
    others = dataset.swapped_expressions(clip.expressions)
    for i, expression in enumerate(clip.expressions):
      truth = clip.masks[expression.object_index]
      j, f = score(masks[i], truth)
      found["j"].append(j)
      found["f"].append(f)
      found["j_and_f"].append((j + f) / 2)
      found[f"j_and_f/{expression.kind}"].append((j + f) / 2)
      if others[i] is not None:
        found["swapped"].append(sum(score(masks[others[i]], truth)) / 2)
    if progress:
      progress(1)
  results = {name: float(np.mean(found[name])) for name in sorted(found)}
  return results | {"sentences": len(found["j"])}
