"""Mean average precision of scored detections, by pycocotools.

Both protocols in use: all queries of a sample enter, as SgMg reports it, or
the best alone, as others do; the second is lower by some points, so a number
needs its protocol's name.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from pycocotools import coco, cocoeval

from sgmg_jax.errors import UserError

STATISTICS: Final = (
  "AP",
  "AP50",
  "AP75",
  "AP_small",
  "AP_medium",
  "AP_large",
  "AR1",
  "AR10",
  "AR100",
  "AR_small",
  "AR_medium",
  "AR_large",
)


def average_precision(
  truth: Mapping[str, Any],
  predictions: Sequence[Mapping[str, Any]],
  kind: str = "segm",
) -> dict[str, float]:
  """COCO's statistics, categories ignored.

  Args:
    predictions: entries with "image_id", "category_id", "score" and
      "segmentation" (`kind` "segm") or "bbox" as (x, y, width, height)
      (`kind` "bbox").
    kind: what overlaps.

  Returns:
    A number for each of `STATISTICS`; -1 where no object is of the size.

  Raises:
    UserError: a prediction of an image that the truth has not.
  """
  known = {image["id"] for image in truth["images"]}
  for entry in predictions:
    if entry["image_id"] not in known:
      raise UserError(
        f"image {entry['image_id']}: predicted, but not in the ground truth"
      )
  if not predictions:
    return dict.fromkeys(STATISTICS, 0.0)
  # A "bbox" beside a mask would be taken for the mask's area.
  unused = {"segm": "bbox", "bbox": "segmentation"}[kind]
  entries = [
    {k: v for k, v in entry.items() if k != unused} for entry in predictions
  ]
  with contextlib.redirect_stdout(io.StringIO()):
    dataset = coco.COCO()
    # pycocotools writes into what it gets.
    dataset.dataset = copy.deepcopy(dict(truth))
    dataset.createIndex()
    evaluation = cocoeval.COCOeval(dataset, dataset.loadRes(entries), kind)
    evaluation.params.useCats = 0
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return dict(zip(STATISTICS, map(float, np.asarray(evaluation.stats))))


def best_only(
  predictions: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
  """The first prediction of the highest score of each image."""
  best: dict[Any, Mapping[str, Any]] = {}
  for entry in predictions:
    known = best.get(entry["image_id"])
    if known is None or entry["score"] > known["score"]:
      best[entry["image_id"]] = entry
  return list(best.values())
