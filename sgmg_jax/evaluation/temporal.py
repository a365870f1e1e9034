"""Agreement of predictions with the truth in time.

tIoU and vIoU are those of Liang et al., "Long-RVOS: A Comprehensive Benchmark
for Long-term Referring Video Object Segmentation", 2025, as its program
computes them. Stability is a measure of this project.
"""

from __future__ import annotations

import numpy as np

from sgmg_jax.evaluation import measures


def temporal_iou(pred_shown: np.ndarray, truth_shown: np.ndarray) -> float:
  """tIoU: frames with both masks, of those with any; 1 where none has one.

  bool[T] each: whether the predicted and the true mask have any pixel.
  """
  return video_iou(np.ones(len(pred_shown)), pred_shown, truth_shown)


def video_iou(
  region: np.ndarray, pred_shown: np.ndarray, truth_shown: np.ndarray
) -> float:
  """vIoU: sum of J over the frames with both masks, by the number of those
  with any; 1 where no frame has one. `region`: float[T], J of each frame.
  """
  union = np.count_nonzero(pred_shown | truth_shown)
  if not union:
    return 1.0
  return float(region[pred_shown & truth_shown].sum() / union)


def successive_overlaps(
  masks: np.ndarray, before: np.ndarray | None = None
) -> np.ndarray:
  """J of every frame's mask with that of the frame before.

  Args:
    masks: bool[T, H, W].
    before: bool[H, W], the mask before the first; None if there is none.

  Returns:
    float64[T]; NaN where there is no frame before.
  """
  out = np.full(len(masks), np.nan)
  out[1:] = measures.region_similarity(masks[1:], masks[:-1])
  if before is not None:
    out[0] = measures.region_similarity(masks[0], before)
  return out


def stability(pred_overlaps: np.ndarray, truth_overlaps: np.ndarray) -> float:
  """How little a prediction flickers, 0 to 1: 1 less its mean excess of change.

  Excess is what successive predictions overlap less than successive true masks
  do (float[T] each, see `successive_overlaps`): an object that moves or appears
  may change its mask as much. Errors that stay, and predictions that do not
  move, are left to J.
  """
  excess = np.maximum(truth_overlaps[1:] - pred_overlaps[1:], 0)
  return float(1 - excess.mean()) if len(excess) else 1.0
