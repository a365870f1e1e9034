"""Region similarity J and boundary measure F of the DAVIS benchmark.

Exact, in numpy; any leading axes (frames, expressions) are computed at once.
Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video
Object Segmentation", CVPR 2016; details as in davis2017-evaluation.
"""

from __future__ import annotations

import math

import numpy as np

# Boundary pixels count as found within this part of the frame's diagonal.
TOLERANCE = 0.008


def _remove_void(mask: np.ndarray, void: np.ndarray | None) -> np.ndarray:
  mask = np.asarray(mask, bool)
  return mask if void is None else mask & ~np.asarray(void, bool)


def _ratio(part: np.ndarray, whole: np.ndarray, empty: float) -> np.ndarray:
  """part / whole, `empty` where whole is 0."""
  return np.where(whole > 0, part / np.maximum(whole, 1), empty)


def region_similarity(
  pred: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> np.ndarray:
  """Intersection over union per frame; 1 where both masks are empty.

  Args:
    pred: bool[..., H, W].
    truth: bool[..., H, W].
    void: bool[..., H, W], pixels that do not count.

  Returns:
    float64[...].
  """
  pred, truth = _remove_void(pred, void), _remove_void(truth, void)
  inter = np.count_nonzero(pred & truth, axis=(-2, -1))
  union = np.count_nonzero(pred | truth, axis=(-2, -1))
  return _ratio(inter, union, 1.0)


def boundary_map(mask: np.ndarray) -> np.ndarray:
  """bool[..., H, W]: pixels unlike their right, lower or lower-right
  neighbour. A mask that covers the frame has none."""
  mask = np.asarray(mask, bool)
  edge = np.zeros_like(mask)
  right = mask[..., :, :-1] ^ mask[..., :, 1:]
  lower = mask[..., :-1, :] ^ mask[..., 1:, :]
  edge[..., :, :-1] |= right
  edge[..., :-1, :] |= lower
  edge[..., :-1, :-1] |= mask[..., :-1, :-1] ^ mask[..., 1:, 1:]
  return edge


def boundary_radius(height: int, width: int) -> int:
  """The tolerance of F in pixels."""
  return math.ceil(TOLERANCE * math.hypot(height, width))


def dilate(maps: np.ndarray, radius: int) -> np.ndarray:
  """Dilates bool[..., H, W] by the disk dx^2 + dy^2 <= radius^2.

  The disk is a stack of horizontal runs, and running sums answer "is any
  pixel of this run set" at a cost that does not depend on its length.
  """
  height, width = maps.shape[-2:]
  padded = width + 2 * radius + 1
  sums = np.zeros(maps.shape[:-1] + (padded,), np.int16)
  inner = sums[..., radius + 1 : radius + 1 + width]
  np.cumsum(maps, axis=-1, out=inner, dtype=np.int16)
  sums[..., radius + 1 + width :] = inner[..., -1:]
  out = np.zeros(maps.shape, bool)
  for dy in range(min(radius, height - 1) + 1):
    half = math.isqrt(radius * radius - dy * dy)
    low, high = radius - half, radius + half + 1
    run = sums[..., high : high + width] != sums[..., low : low + width]
    out[..., dy:, :] |= run[..., : height - dy, :]
    out[..., : height - dy, :] |= run[..., dy:, :]
  return out


def boundary_precision_recall(
  pred: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Share of each mask's boundary that lies near the other's.

  Args and shapes as in `region_similarity`.

  Returns:
    (precision, recall), float64[...]. Where only one boundary is empty its
    own share is 1 and the other 0; where both are, both are 1.
  """
  edge_p = boundary_map(_remove_void(pred, void))
  edge_t = boundary_map(_remove_void(truth, void))
  radius = boundary_radius(*edge_p.shape[-2:])
  axes = (-2, -1)
  hit_p = np.count_nonzero(edge_p & dilate(edge_t, radius), axis=axes)
  hit_t = np.count_nonzero(edge_t & dilate(edge_p, radius), axis=axes)
  precision = _ratio(hit_p, np.count_nonzero(edge_p, axis=axes), 1.0)
  recall = _ratio(hit_t, np.count_nonzero(edge_t, axis=axes), 1.0)
  return precision, recall


def boundary_measure(
  pred: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> np.ndarray:
  """F per frame: harmonic mean of boundary precision and recall, 0 if both
  are 0. Args and shapes as in `region_similarity`; returns float64[...]."""
  precision, recall = boundary_precision_recall(pred, truth, void)
  total = precision + recall
  return np.where(
    total > 0, 2 * precision * recall / np.where(total > 0, total, 1.0), 0.0
  )
