"""IoU and precision@K of each image's best query: A2D, JHMDB, RefCOCO.

All queries of an annotated frame are scored detections; the one with the
highest score answers the sentence. Numbers are float32 as in the official
evaluation, whose thresholds are strict: 600 of 1000 pixels count for 0.6, 700
of 1000 do not for 0.7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco_mask

from sgmg_jax.errors import UserError

THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
_EPSILON: Final = np.float32(1e-6)

# {"size": [H, W], "counts": compressed run lengths}.
Rle = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Overlaps:
  """Intersection and union of the best query and the truth of N images.

  Attributes:
    intersection: float[N], pixels (boxes: area).
    union: float[N].
  """

  intersection: np.ndarray
  union: np.ndarray

  @property
  def iou(self) -> np.ndarray:
    """float32[N]; 1 where both are empty."""
    inter, union = (
      np.asarray(x, np.float32) for x in (self.intersection, self.union)
    )
    return (inter + _EPSILON) / (union + _EPSILON)

  def precision_at(self, threshold: float) -> float:
    """Share of images whose IoU exceeds the threshold."""
    # As doubles, in which float32's 0.6 is above 0.6.
    return float((self.iou.astype(np.float64) > threshold).mean())

  def accuracy(self, threshold: float = 0.5) -> float:
    """Share of images whose IoU reaches the threshold.

    Of boxes, it is the accuracy of referring expression comprehension, which
    counts an IoU of exactly 0.5 (Deng et al., TransVG, ICCV 2021).
    """
    return float((self.iou >= threshold).mean())

  def results(self) -> dict[str, float]:
    """Precision at `THRESHOLDS`, mean and overall IoU."""
    out = {f"P@{k}": self.precision_at(k) for k in THRESHOLDS}
    out["mean_iou"] = float(self.iou.mean(dtype=np.float64))
    inter, union = (
      x.sum(dtype=np.float64) for x in (self.intersection, self.union)
    )
    out["overall_iou"] = float(inter / union)
    return out


def choose(
  image_ids: Iterable[Hashable], predictions: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
  """The prediction of the highest score of each image, the last among equals.

  Predictions have "image_id" and "score"; the result is in the order of the
  ids.

  Raises:
    UserError: an image without predictions.
  """
  best: dict[Hashable, Mapping[str, Any]] = {}
  for entry in predictions:
    known = best.get(entry["image_id"])
    if known is None or entry["score"] >= known["score"]:
      best[entry["image_id"]] = entry
  chosen = []
  for image_id in image_ids:
    if image_id not in best:
      raise UserError(f"image {image_id}: no prediction of it")
    chosen.append(best[image_id])
  return chosen


def mask_overlaps(pred: Sequence[Rle], truth: Sequence[Rle]) -> Overlaps:
  """Overlaps of pairs of masks.

  Raises:
    UserError: a pair of two sizes.
  """
  for p, t in zip(pred, truth, strict=True):
    if list(p["size"]) != list(t["size"]):
      raise UserError(
        f"mask of {list(p['size'])}: expected {list(t['size'])} (height, "
        "width), as the ground truth"
      )
  pairs = list(zip(pred, truth))
  inter = [coco_mask.merge(list(pair), intersect=True) for pair in pairs]
  union = [coco_mask.merge(list(pair)) for pair in pairs]
  areas = (
    np.array([coco_mask.area(mask) for mask in masks], np.float64)
    for masks in (inter, union)
  )
  return Overlaps(*areas)


def box_overlaps(pred: np.ndarray, truth: np.ndarray) -> Overlaps:
  """Overlaps of pairs of boxes, real areas, nothing clipped.

  Args:
    pred: float[N, 4], (x1, y1, x2, y2).
    truth: float[N, 4].
  """
  pred, truth = (np.asarray(x, np.float32) for x in (pred, truth))
  low = np.maximum(pred[:, :2], truth[:, :2])
  high = np.minimum(pred[:, 2:], truth[:, 2:])
  inter = np.maximum(high - low, 0).prod(-1)
  areas = [(x[:, 2:] - x[:, :2]).prod(-1) for x in (pred, truth)]
  return Overlaps(inter, areas[0] + areas[1] - inter)
