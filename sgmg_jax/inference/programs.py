"""The jitted steps of inference, shared by everything that runs a model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sgmg_jax import types
from sgmg_jax.inference import postprocess, preprocess
from sgmg_jax.model import sgmg, variants


@dataclasses.dataclass(frozen=True)
class Programs:
  """Jitted functions of parameters and arrays; B = 1.

  Attributes:
    encode_video: (params, clip uint8[1, T, H, W, 3], size int32[1, 2],
      num_frames int32[]) -> `types.VideoFeatures`.
    encode_text: (params, tokens int32[1, L], token_valid bool[1, L]) ->
      `types.TextFeatures`.
    query: (params, video, text) -> mask logits float32[T, H, W], scores
      float32[T] and boxes float32[T, 4] of the clip's best query.
  """

  encode_video: Callable
  encode_text: Callable
  query: Callable


@functools.cache
def compiled(variant: variants.Variant, dtype: str = "float32") -> Programs:
  """The steps of one model, the same object for the same arguments."""
  model = sgmg.SgMg(variant=variant, dtype=jnp.dtype(dtype))

  def encode_video(params, clip, size, num_frames):
    pixels, pixel_valid = preprocess.normalise(clip, size)
    return model.apply(
      {"params": params},
      pixels,
      pixel_valid,
      size,
      num_frames,
      method="encode_video",
    )

  def encode_text(params, tokens, token_valid):
    return model.apply(
      {"params": params}, tokens, token_valid, method="encode_text"
    )

  def query(params, video, text):
    return model.apply({"params": params}, video, text, method=_segment)

  return Programs(jax.jit(encode_video), jax.jit(encode_text), jax.jit(query))


def _segment(model: sgmg.SgMg, video, text):
  """Mask logits [T, H, W], scores [T] and boxes [T, 4] of the best query."""
  decoded = model.transform(model.fuse(video, text), video, text)
  masks, query = model.segment(decoded, video)
  scores = types.take_query(decoded.logits[-1], query, axis=2)
  boxes = types.take_query(decoded.boxes[-1], query, axis=2)
  return masks[0], jax.nn.sigmoid(scores[0]), boxes[0]


# `postprocess.threshold_masks` for static geometry and threshold.
threshold_masks = jax.jit(postprocess.threshold_masks, static_argnums=(1, 2))
