"""A2D's and RefCOCO's numbers against the official code's."""

import json
import pathlib

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import average_precision, best_query

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/eval"


def _read(name):
  return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def a2d():
  return _read("a2d_case")


@pytest.fixture(scope="module")
def refcoco():
  return _read("refcoco_case")


def _check(actual, expected):
  for k, value in expected["precision_at"].items():
    assert actual[f"P@{k}"] == pytest.approx(value, abs=1e-9)
  for name in ("overall_iou", "mean_iou"):
    assert actual[name] == pytest.approx(expected[name], abs=1e-9), name


def _best_masks(truth, masks, predictions):
  ids = [image["id"] for image in truth["images"]]
  chosen = best_query.choose(ids, predictions)
  overlaps = best_query.mask_overlaps(
    [entry["segmentation"] for entry in chosen], [masks[i] for i in ids]
  )
  return chosen, overlaps


@pytest.mark.parametrize("only_best", [False, True])
def test_a2d(a2d, only_best):
  truth, predictions = a2d["ground_truth"], a2d["predictions"]
  expected = a2d["expected_all_five_queries"]
  if only_best:
    predictions = average_precision.best_only(predictions)
    expected = a2d["expected_top1_only"]
  actual = average_precision.average_precision(truth, predictions)
  for name, value in expected["coco_stats"].items():
    assert actual[name] == pytest.approx(value, abs=1e-9), name
  masks = {a["image_id"]: a["segmentation"] for a in truth["annotations"]}
  _, overlaps = _best_masks(truth, masks, predictions)
  _check(overlaps.results(), expected)


def test_a2d_by_image(a2d):
  truth, predictions = a2d["ground_truth"], a2d["predictions"]
  masks = {a["image_id"]: a["segmentation"] for a in truth["annotations"]}
  chosen, overlaps = _best_masks(truth, masks, predictions)
  for i, expected in enumerate(a2d["per_image"]):
    assert chosen[i] is predictions[expected["used_result_id"] - 1]
    assert overlaps.intersection[i] == expected["intersection"]
    assert overlaps.union[i] == expected["union"]
    assert float(overlaps.iou[i]) == expected["iou"]


def test_refcoco(refcoco):
  truth, predictions = refcoco["ground_truth"], refcoco["predictions"]
  sizes = {i["id"]: (i["height"], i["width"]) for i in truth["images"]}
  masks, boxes = {}, []
  for entry in truth["annotations"]:
    polygons = coco_mask.frPyObjects(
      entry["segmentation"], *sizes[entry["image_id"]]
    )
    masks[entry["image_id"]] = coco_mask.merge(polygons)
    x, y, width, height = entry["bbox"]
    boxes.append([x, y, x + width, y + height])
  chosen, overlaps = _best_masks(truth, masks, predictions)
  _check(overlaps.results(), refcoco["expected_mask"])
  by_box = best_query.box_overlaps([e["bbox"] for e in chosen], boxes)
  _check(by_box.results(), refcoco["expected_bbox"])
  actual = average_precision.average_precision(truth, predictions)
  # By size the official code has boxes' areas wrong; see the specification.
  for name, value in zip(("AP", "AP50", "AP75"), refcoco["coco_segm_stats"]):
    assert actual[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("case", _read("iou_edge_cases")["mask_iou"])
def test_thresholds_are_strict(case):
  overlaps = best_query.Overlaps(
    np.array([case["intersection"]]), np.array([case["union"]])
  )
  assert float(overlaps.iou[0]) == case["iou_float32"]
  for k, value in case["greater_than"].items():
    assert overlaps.precision_at(float(k)) == value, k


@pytest.mark.parametrize("case", _read("iou_edge_cases")["bbox_iou"])
def test_boxes(case):
  actual = best_query.box_overlaps([case["pred_xyxy"]], [case["gt_xyxy"]])
  assert actual.intersection[0] == case["intersection"]
  assert actual.union[0] == case["union"]
  assert float(actual.iou[0]) == pytest.approx(case["iou"], rel=1e-7)


def test_bad_predictions_are_named(a2d):
  truth, predictions = a2d["ground_truth"], a2d["predictions"]
  with pytest.raises(UserError, match="image other: predicted, but not in"):
    average_precision.average_precision(
      truth, [{**predictions[0], "image_id": "other"}]
    )
  with pytest.raises(UserError, match="image v_vid00_f_20_i_1: no prediction"):
    best_query.choose(["v_vid00_f_20_i_1"], [])
  small = coco_mask.encode(np.ones((2, 3), np.uint8, "F"))
  large = coco_mask.encode(np.ones((4, 5), np.uint8, "F"))
  with pytest.raises(UserError, match=r"\[2, 3\]: expected \[4, 5\]"):
    best_query.mask_overlaps([small], [large])


def test_half_an_overlap_is_accurate_but_not_precise():
  boxes = [[0, 0, 10, 10]] * 3
  halves = [[0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 5.1]]
  overlaps = best_query.box_overlaps(halves, boxes)
  assert overlaps.accuracy() == pytest.approx(2 / 3)
  assert overlaps.precision_at(0.5) == pytest.approx(1 / 3)
