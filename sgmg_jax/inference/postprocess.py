"""Model output to masks and boxes at the video's own size.

The official procedure for Ref-YouTube-VOS: one query for the whole clip, the
padding cut off, mask logits up-sampled bilinearly (half-pixel centres, no
antialias), and a mask where the probability exceeds the threshold.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import types
from sgmg_jax.inference import preprocess


def upsample_logits(
  logits: types.Array, size: tuple[int, int], original: tuple[int, int]
) -> types.Array:
  """Cuts the padding off and resizes bilinearly.

  Args:
    logits: float[..., H_padded, W_padded].
    size: (height, width) of the clip before padding.
    original: (height, width) of the result.

  Returns:
    float[..., height, width].
  """
  logits = logits[..., : size[0], : size[1]]
  return _lerp(_lerp(logits, -2, original[0]), -1, original[1])


def _lerp(x: types.Array, axis: int, length: int) -> types.Array:
  """Two gathers and a blend: far cheaper than a dense interpolation matrix."""
  old = x.shape[axis]
  if old == length:
    return x
  centres = (np.arange(length) + 0.5) * (old / length) - 0.5
  centres = np.clip(centres, 0, old - 1)
  low = np.floor(centres).astype(np.int32)
  high = np.minimum(low + 1, old - 1)
  shape = [1] * x.ndim
  shape[axis] = length
  weight = jnp.asarray((centres - low).reshape(shape), x.dtype)
  low_values = jnp.take(x, low, axis=axis)
  return low_values + weight * (jnp.take(x, high, axis=axis) - low_values)


def threshold_masks(
  logits: types.Array, geometry: preprocess.Geometry, threshold: float
) -> types.Array:
  """Masks at the original size, one frame at a time to bound memory.

  Args:
    logits: float[T, H_padded, W_padded].
    geometry: sizes of the video.
    threshold: probability in (0, 1) that a mask pixel exceeds.

  Returns:
    bool[T, H, W]: sigmoid(logit) > threshold, compared before the sigmoid.
  """
  cut = math.log(threshold / (1 - threshold))
  return jax.lax.map(
    lambda frame: (
      upsample_logits(frame, geometry.size, geometry.original) > cut
    ),
    logits,
  )


def boxes_in_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(cx, cy, w, h) over the unpadded clip -> (x1, y1, x2, y2) in the video.

  Args:
    boxes: float[..., 4].
    size: (height, width) of the video in pixels.

  Returns:
    float32[..., 4], pixels of the original frame, clipped to it.
  """
  centre, extent = boxes[..., :2], boxes[..., 2:]
  corners = np.concatenate([centre - extent / 2, centre + extent / 2], -1)
  limit = np.array(size[::-1] * 2, np.float32)
  return np.clip(corners * limit, 0, limit).astype(np.float32)
