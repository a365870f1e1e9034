"""Turn model output into masks and boxes at the video's own size.

The official procedure for Ref-YouTube-VOS: one query for the whole clip, the
padding cut off, mask logits up-sampled bilinearly (half-pixel centres, no
antialias), and a mask where the probability exceeds the threshold.

In NumPy: as fast as compiled for a CPU, the logits are no more to copy from an
accelerator than the masks, and no size of a video needs a program of its own.
"""

from __future__ import annotations

import math
import os
from concurrent import futures
from typing import Final

import numpy as np

from sgmg_jax.inference import preprocess

# Each thread holds a few frames of float32.
_THREADS: Final = min(4, os.cpu_count() or 1)


def upsample_logits(
  logits: np.ndarray, size: tuple[int, int], original: tuple[int, int]
) -> np.ndarray:
  """Cut the padding off and resize bilinearly.

  Args:
    logits: float32[..., H_padded, W_padded].
    size: (height, width) of the clip before padding.
    original: (height, width) of the result.

  Returns:
    float32[..., height, width].
  """
  logits = logits[..., : size[0], : size[1]]
  # Rows last: they are copied whole.
  return _lerp(_lerp(logits, -1, original[1]), -2, original[0])


def _lerp(x: np.ndarray, axis: int, length: int) -> np.ndarray:
  """Two gathers and a blend: far cheaper than a dense interpolation matrix."""
  old = x.shape[axis]
  if old == length:
    return x
  centres = (np.arange(length) + 0.5) * (old / length) - 0.5
  centres = np.clip(centres, 0, old - 1)
  low = np.floor(centres).astype(np.int32)
  shape = [1] * x.ndim
  shape[axis] = length
  values = x.take(low, axis)
  step = x.take(np.minimum(low + 1, old - 1), axis)
  step -= values
  step *= (centres - low).astype(x.dtype).reshape(shape)
  values += step
  return values


def sigmoid(logits: np.ndarray) -> np.ndarray:
  """Probabilities of logits, without overflow."""
  small = np.exp(-np.abs(logits))
  return np.where(logits < 0, small, 1) / (1 + small)


def threshold_masks(
  logits: np.ndarray, geometry: preprocess.Geometry, threshold: float
) -> tuple[np.ndarray, bool]:
  """Masks at the original size, one frame at a time to bound memory.

  Args:
    logits: float32[T, H_padded, W_padded].
    threshold: probability in (0, 1) that a mask pixel exceeds.

  Returns:
    bool[T, H, W]: sigmoid(logit) > threshold, compared before the sigmoid; and
    whether all logits are finite.
  """
  cut = math.log(threshold / (1 - threshold))
  masks = np.zeros((len(logits), *geometry.original), bool)

  height, width = geometry.size

  def fill(frame, mask):
    finite = np.isfinite(frame[:height, :width]).all()
    if finite:
      values = upsample_logits(frame, geometry.size, geometry.original)
      np.greater(values, cut, out=mask)
    return finite

  with futures.ThreadPoolExecutor(_THREADS) as pool:
    return masks, all(pool.map(fill, logits, masks))


def boxes_in_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """(cx, cy, w, h) over the unpadded clip -> (x1, y1, x2, y2) in the video.

  Args:
    boxes: float[..., 4].
    size: (height, width) of the video in pixels.

  Returns:
    float32[..., 4], pixels of the original frame, clipped to it.
  """
  limit = np.array(size[::-1] * 2, np.float32)
  return np.clip(corners_in_pixels(boxes, size), 0, limit)


def corners_in_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """As `boxes_in_pixels`, not clipped."""
  centre, extent = boxes[..., :2], boxes[..., 2:]
  corners = np.concatenate([centre - extent / 2, centre + extent / 2], -1)
  return (corners * np.array(size[::-1] * 2, np.float32)).astype(np.float32)
