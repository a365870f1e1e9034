"""Region similarity J and boundary measure F of the DAVIS benchmark.

Exact, in numpy; any leading axes (frames, expressions) are computed at once.
Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video
Object Segmentation", CVPR 2016; details as in davis2017-evaluation.
"""

from __future__ import annotations

import math

import numpy as np

from sgmg_jax.evaluation import bit_masks

# Boundary pixels count as found within this part of the frame's diagonal.
TOLERANCE = 0.008


def boundary_radius(height: int, width: int) -> int:
  """The tolerance of F in pixels."""
  return math.ceil(TOLERANCE * math.hypot(height, width))


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
  pred, truth = (bit_masks.pack(m, 0) for m in _without(void, pred, truth))
  inter, union = (bit_masks.count(m) for m in (pred & truth, pred | truth))
  return _ratio(inter, union)


def boundary_map(mask: np.ndarray) -> np.ndarray:
  """bool[..., H, W]: pixels unlike their right, lower or lower-right
  neighbour. A mask that covers the frame has none."""
  mask = np.asarray(mask, bool)
  width = mask.shape[-1]
  edges = bit_masks.boundaries(bit_masks.pack(mask, 1), width)
  return np.unpackbits(
    edges.view(np.uint8), axis=-1, count=width, bitorder="little"
  ).astype(bool)


def boundary_precision_recall(
  pred: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Share of each mask's boundary that lies near the other's.

  Args and shapes as in `region_similarity`.

  Returns:
    (precision, recall), float64[...]. Where only one boundary is empty its
    own share is 1 and the other 0; where both are, both are 1.
  """
  pred, truth = _without(void, pred, truth)
  lead, frame = pred.shape[:-2], pred.shape[-2:]
  pairs = zip(pred.reshape(-1, 1, *frame), truth.reshape(-1, 1, *frame))
  shares = [boundary_shares(p, t) for p, t in pairs]
  precision, recall = np.array(shares).reshape(-1, 2).T
  return precision.reshape(lead), recall.reshape(lead)


def boundary_shares(
  pred: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Precision and recall of the boundaries of every pair of masks.

  Args:
    pred: bool[M, H, W], masks of one frame.
    truth: bool[N, H, W].

  Returns:
    (precision, recall), float64[M, N]; as in `boundary_precision_recall`.
  """
  num_pred, height, width = pred.shape
  radius = boundary_radius(height, width)
  masks = bit_masks.pack(np.concatenate([pred, truth]), radius)
  edges = bit_masks.crop(bit_masks.boundaries(masks, width), radius)
  near = bit_masks.dilate(edges, radius)
  p, t = edges[:num_pred, None], edges[None, num_pred:]
  near_p, near_t = near[:num_pred, None], near[None, num_pred:]
  precision = _ratio(bit_masks.count(p & near_t), bit_masks.count(p))
  recall = _ratio(bit_masks.count(t & near_p), bit_masks.count(t))
  return precision, recall


def boundary_measure(
  pred: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> np.ndarray:
  """F per frame: harmonic mean of boundary precision and recall, 0 if both
  are 0. Args and shapes as in `region_similarity`; returns float64[...]."""
  return harmonic_mean(*boundary_precision_recall(pred, truth, void))


def harmonic_mean(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
  """2 P R / (P + R), 0 where both are 0."""
  total = precision + recall
  return np.where(
    total > 0, 2 * precision * recall / np.where(total > 0, total, 1.0), 0.0
  )


def _without(
  void: np.ndarray | None, *masks: np.ndarray
) -> tuple[np.ndarray, ...]:
  """The masks less the void pixels, broadcast to one shape."""
  masks = np.broadcast_arrays(*(np.asarray(m, bool) for m in masks))
  if void is not None:
    keep = ~np.asarray(void, bool)
    masks = [m & keep for m in masks]
  return tuple(masks)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  """part / whole, 1 where whole is 0."""
  return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
