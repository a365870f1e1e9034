"""A2D-Sentences, JHMDB-Sentences, RefCOCO/+/g: one annotated frame a sentence.

Every query of the frame is a scored detection. Average precision is computed
of all of them and of the best alone, precision at K and IoU of the best (see
`average_precision` and `best_query`).
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco_mask

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import (
  average_precision,
  best_query,
  detections_file,
  mask_files,
  scores,
  statistics,
)
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.sets import registry

# By size only where the area of objects is the masks'; RefCOCO has COCO's.
_ALL_SIZES: Final = ("AP", "AP50", "AP75")
_BY_SIZE: Final = ("AP_small", "AP_medium", "AP_large")
# Sentences of one job.
_AT_ONCE: Final = 256


@dataclasses.dataclass(frozen=True)
class _Object:
  """What a sentence describes.

  Attributes:
    mask: run-length code.
    box: x1, y1, x2, y2 in pixels; None where the data set has none.
  """

  mask: best_query.Rle
  area: int
  box: list[float] | None


def image_id(name: str, e: source_lib.Expression) -> str | int:
  """Id of a sentence's image in COCO files, as other toolkits have it."""
  return int(e.id) if _are_images(name) else f"v_{e.video}_{e.id}"


def score(
  truth: truth_lib.Truth,
  predictions: str | os.PathLike,
  *,
  protocol: str,
  allow_missing: bool = False,
  run: Callable[..., Iterable[Any]] = map,
) -> scores.Scores:
  """Score a JSON file of COCO results, see `detections_file`.

  With `allow_missing`, an image without predictions counts as an empty mask.
  Args, Raises: as `protocols.score`, which gives `protocol` and `run`.
  """
  source = truth.source
  expressions = source.expressions
  ids = [image_id(truth.name, e) for e in expressions]
  sizes = {i: source.video(e.video).size for i, e in zip(ids, expressions)}
  found, faults = detections_file.read(predictions, sizes)
  notes = mask_files.accept(faults, predictions, allow_missing)
  jobs = [
    range(start, min(start + _AT_ONCE, len(ids)))
    for start in range(0, len(ids), _AT_ONCE)
  ]
  describe = functools.partial(_describe, truth)
  objects = [one for part in run(describe, jobs) for one in part]
  numbers = _average_precisions(truth.name, ids, sizes, objects, found)
  answered = {entry["image_id"] for entry in found}
  empty = [_empty(i, sizes[i]) for i in ids if i not in answered]
  best = best_query.choose(ids, [*found, *empty])
  overlaps = {
    "": best_query.mask_overlaps(
      [entry["segmentation"] for entry in best], [one.mask for one in objects]
    )
  }
  if _are_images(truth.name):
    boxes, note = _box_overlaps(best, objects)
    overlaps |= boxes
    notes.append(note)
  videos = [e.video for e in expressions]
  intervals = {}
  for kind, of_kind in overlaps.items():
    numbers |= {kind + name: v for name, v in of_kind.results().items()}
    intervals |= {
      kind + name: v for name, v in _intervals(of_kind, videos).items()
    }
  if "box_" in overlaps:
    numbers["box_Acc@0.5"] = overlaps["box_"].accuracy()
    intervals["box_Acc@0.5"] = statistics.bootstrap(
      overlaps["box_"].iou >= 0.5, videos
    )
  if len(found) <= len(ids):
    notes.append(
      "one prediction an image or fewer: AP is of the best query alone, which "
      "is lower than that of all queries"
    )
  rows = [
    scores.Row(
      e.video,
      e.id,
      e.text,
      {f"{kind}IoU": float(o.iou[n]) for kind, o in overlaps.items()},
    )
    for n, e in enumerate(expressions)
  ]
  main = "overall_iou" if _are_images(truth.name) else "AP"
  return scores.Scores(
    truth.name, protocol, main, numbers, rows, intervals, notes
  )


def _are_images(name: str) -> bool:
  return registry.about(name).family == "images"


def _describe(truth: truth_lib.Truth, numbers: Sequence[int]) -> list[_Object]:
  """What the sentences at these positions describe."""
  source = truth.source
  objects = []
  for number in numbers:
    e = source.expressions[number]
    (mask,) = source.read_masks(e, [e.frame])
    box = source.box(e)
    if box is None and _are_images(truth.name):
      raise UserError(
        f"{truth.path}: {truth.name} expression {e.key}: no instance "
        "(a crowd, or without polygons), expected one in evaluation"
      )
    objects.append(
      _Object(
        coco_mask.encode(np.asfortranarray(mask, np.uint8)),
        int(mask.sum()),
        None if box is None else box.tolist(),
      )
    )
  return objects


def _average_precisions(
  name: str,
  ids: Sequence[str | int],
  sizes: Mapping[str | int, tuple[int, int]],
  objects: Sequence[_Object],
  found: Sequence[Mapping[str, Any]],
) -> dict[str, float]:
  """AP of all queries and of the best of each image."""
  dataset = {
    "categories": [{"id": 1, "name": "object"}],
    "images": [
      {"id": i, "height": height, "width": width}
      for i, (height, width) in sizes.items()
    ],
    "annotations": [
      {
        "id": number,
        "image_id": i,
        "category_id": 1,
        "segmentation": one.mask,
        "area": float(one.area),
        "iscrowd": 0,
      }
      for number, (i, one) in enumerate(zip(ids, objects), 1)
    ],
  }
  shown = _ALL_SIZES if _are_images(name) else (*_ALL_SIZES, *_BY_SIZE)
  every = average_precision.average_precision(dataset, found)
  best = average_precision.average_precision(
    dataset, average_precision.best_only(found)
  )
  numbers = {key: every[key] for key in shown}
  numbers |= {f"{key}_best_query": best[key] for key in _ALL_SIZES}
  # COCO's -1: no object is of the size.
  return {k: np.nan if v < 0 else v for k, v in numbers.items()}


def _box_overlaps(
  best: Sequence[Mapping[str, Any]], objects: Sequence[_Object]
) -> tuple[dict[str, best_query.Overlaps], str]:
  """Overlaps of boxes, if the predictions have any, and a note."""
  boxes = [entry.get("bbox") for entry in best]
  without = boxes.count(None)
  if without == len(boxes):
    return {}, "no boxes are predicted"
  note = 'the "bbox" of predictions is taken for x1, y1, x2, y2'
  if without:
    note += f"; {without} images have none, which counts as no overlap"
  overlaps = best_query.box_overlaps(
    np.array([box or [0.0] * 4 for box in boxes]),
    np.array([one.box for one in objects]),
  )
  return {"box_": overlaps}, note


def _intervals(
  overlaps: best_query.Overlaps, videos: Sequence[str]
) -> dict[str, statistics.Interval]:
  columns = np.stack([overlaps.intersection, overlaps.union], 1)
  out = {
    f"P@{k}": statistics.bootstrap(overlaps.iou.astype(float) > k, videos)
    for k in best_query.THRESHOLDS
  }
  out["mean_iou"] = statistics.bootstrap(overlaps.iou, videos)
  out["overall_iou"] = statistics.bootstrap(
    columns, videos, statistic=lambda sums: sums[..., 1] / sums[..., 2]
  )
  return out


def _empty(i: str | int, size: tuple[int, int]) -> dict[str, Any]:
  """An empty mask in place of a prediction that is missing."""
  mask = coco_mask.encode(np.zeros(size, np.uint8, "F"))
  return {"image_id": i, "segmentation": mask, "score": 0.0}
