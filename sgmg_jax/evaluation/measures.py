"""Region similarity J and boundary measure F of the DAVIS benchmark.

Exact, in numpy; any leading axes (frames, expressions) are computed at once.
Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video
Object Segmentation", CVPR 2016; details as in davis2017-evaluation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from sgmg_jax.evaluation import bit_masks

# Boundary pixels count as found within this part of the frame's diagonal.
TOLERANCE = 0.008


def boundary_radius(height: int, width: int) -> int:
  """The tolerance of F in pixels."""
  return math.ceil(TOLERANCE * math.hypot(height, width))


def region_similarity(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Intersection over union per frame; 1 where both masks are empty.

  Args:
    pred: bool[..., H, W].
    truth: bool[..., H, W].

  Returns:
    float64[...].
  """
  pred, truth = _pairs(pred, truth)
  counts = [
    (np.count_nonzero(p & t), np.count_nonzero(p | t))
    for p, t in zip(_frames(pred), _frames(truth))
  ]
  inter, union = np.array(counts, np.int64).reshape(-1, 2).T
  return _ratio(inter, union).reshape(pred.shape[:-2])


@dataclasses.dataclass(frozen=True)
class Counts:
  """Pixels of pairs of masks, from which J and F are computed.

  Attributes:
    values: int64[7, ...]: intersection; area of the prediction, of the truth;
      the prediction's boundary, and what of it is near the truth's; the
      truth's, and what of it is near the prediction's.
  """

  values: np.ndarray

  @property
  def region(self) -> np.ndarray:
    """J, float64[...]; see `region_similarity`."""
    inter, pred, truth = self.values[:3]
    return _ratio(inter, pred + truth - inter)

  @property
  def pred_shown(self) -> np.ndarray:
    """Whether the prediction has any pixel, bool[...]."""
    return self.values[1] > 0

  @property
  def truth_shown(self) -> np.ndarray:
    """Whether the truth has any pixel, bool[...]."""
    return self.values[2] > 0

  @property
  def precision(self) -> np.ndarray:
    """Share of the prediction's boundary that is near the truth's,
    float64[...]; 1 where it has none."""
    return _ratio(self.values[4], self.values[3])

  @property
  def recall(self) -> np.ndarray:
    """Share of the truth's boundary that is near the prediction's,
    float64[...]; 1 where it has none."""
    return _ratio(self.values[6], self.values[5])

  @property
  def boundary(self) -> np.ndarray:
    """F, float64[...]; see `boundary_measure`."""
    return harmonic_mean(self.precision, self.recall)


def count_pairs(
  pred: Sequence[np.ndarray], truth: Sequence[np.ndarray]
) -> Counts:
  """Compare every predicted mask of one frame with every true one.

  Args:
    pred: M masks bool[H, W].
    truth: N masks.

  Returns:
    Counts of int64[M, N].
  """
  num = len(pred)
  masks = [*pred, *truth]
  values = np.zeros((7, num, len(truth)), np.int64)
  if not values.size:
    return Counts(values)
  radius = boundary_radius(*masks[0].shape)
  rows = bit_masks.used_rows(masks)
  masks = [mask[rows] for mask in masks]
  if not len(masks[0]):
    return Counts(values)
  packed = bit_masks.pack(masks, radius)
  edges = bit_masks.boundaries(packed, len(masks[0]), radius)
  near = bit_masks.dilate(edges, radius)
  areas, lengths = bit_masks.count(packed), bit_masks.count(edges)
  values[0] = bit_masks.count(packed[:num, None] & packed[num:])
  values[1], values[2] = areas[:num, None], areas[num:]
  values[3], values[5] = lengths[:num, None], lengths[num:]
  values[4] = bit_masks.count(edges[:num, None] & near[num:])
  values[6] = bit_masks.count(edges[num:] & near[:num, None])
  return Counts(values)


def count_frames(pred: np.ndarray, truth: np.ndarray) -> Counts:
  """Compare the masks of each frame: J and F at once.

  Args: as in `region_similarity`.

  Returns:
    Counts of int64[...].
  """
  pred, truth = _pairs(pred, truth)
  counts = [
    count_pairs([p], [t]).values.reshape(7)
    for p, t in zip(_frames(pred), _frames(truth))
  ]
  values = np.array(counts, np.int64).reshape(-1, 7).T
  return Counts(values.reshape(7, *pred.shape[:-2]))


def boundary_measure(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """F per frame: harmonic mean of boundary precision and recall, 0 if both
  are 0. Args and shapes as in `region_similarity`; returns float64[...]."""
  return count_frames(pred, truth).boundary


def harmonic_mean(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
  """2 P R / (P + R), 0 where both are 0."""
  total = precision + recall
  return np.where(
    total > 0, 2 * precision * recall / np.where(total > 0, total, 1.0), 0.0
  )


def _pairs(*masks: np.ndarray) -> tuple[np.ndarray, ...]:
  """The masks, broadcast to one shape."""
  return np.broadcast_arrays(*(np.asarray(m, bool) for m in masks))


def _frames(masks: np.ndarray) -> np.ndarray:
  return masks.reshape(-1, *masks.shape[-2:])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  """part / whole, 1 where whole is 0."""
  return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
