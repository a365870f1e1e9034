"""A2D, JHMDB and RefCOCO from JSON files, against the official numbers."""

import json
import pathlib
import zipfile

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import (
  annotated_frames,
  average_precision,
  protocols,
)
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.input_pipeline import polygons, run_lengths
from sgmg_jax.input_pipeline import source as source_lib

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/eval"


class CocoSource(source_lib.Source):
  """The golden files' ground truth, each image a video of one frame."""

  def __init__(self, name, content):
    self.name, self.split = name, "test"
    self.images = {}
    expressions = []
    for image in content["images"]:
      if isinstance(image["id"], int):
        video, number = f"image{image['id']}", str(image["id"])
      else:
        # Their sizes differ, so that they cannot be of one video.
        video, *number = image["id"].removeprefix("v_").rsplit("_", 2)
        number = "_".join(number)
      self.images[video] = image
      expressions.append(source_lib.Expression(video, number, "", (1,), 0))
    self.expressions = expressions
    self.annotations = {a["image_id"]: a for a in content["annotations"]}

  def video(self, name):
    image = self.images[name]
    return source_lib.Video(name, ("1",), (image["height"], image["width"]))

  def encoded_frame(self, video, index):
    raise NotImplementedError

  def objects(self, video, index):
    code = self.annotations[self.images[video]["id"]]["segmentation"]
    if isinstance(code, list):
      return {1: polygons.draw(code, self.video(video).size)}
    return {1: coco_mask.decode(code).astype(bool)}

  def box(self, expression):
    found = self.annotations[self.images[expression.video]["id"]]
    if "bbox" not in found:
      return None
    x, y, width, height = found["bbox"]
    return np.array([x, y, x + width, y + height], np.float32)


def golden(case, name):
  content = json.loads((GOLDEN / f"{case}.json").read_text())
  truth = truth_lib.Truth(name, None, "test")
  truth.source = CocoSource(name, content["ground_truth"])
  return truth, content


def write(path, predictions):
  path.write_text(json.dumps(predictions))
  return path


def score(truth, path, **options):
  return annotated_frames.score(truth, path, protocol="p", **options)


@pytest.mark.parametrize("name", ["a2d", "jhmdb"])
def test_the_official_numbers_of_a2d(name, tmp_path):
  truth, content = golden("a2d_case", name)
  scores = score(truth, write(tmp_path / "x.json", content["predictions"]))
  numbers = scores.numbers
  every = content["expected_all_five_queries"]
  best = content["expected_top1_only"]
  for key in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"):
    expected = every["coco_stats"][key]
    if expected < 0:
      assert np.isnan(numbers[key])
    else:
      assert numbers[key] == pytest.approx(expected, abs=1e-9), key
  for key in ("AP", "AP50", "AP75"):
    expected = best["coco_stats"][key]
    assert numbers[f"{key}_best_query"] == pytest.approx(expected, abs=1e-9)
  for k, value in every["precision_at"].items():
    assert numbers[f"P@{k}"] == pytest.approx(value, abs=1e-9)
  for key in ("overall_iou", "mean_iou"):
    assert numbers[key] == pytest.approx(every[key], abs=1e-9), key
    # In another order of summation.
    interval = scores.intervals[key]
    assert interval.mean == pytest.approx(every[key], abs=1e-6), key
  ious = [row.values["IoU"] for row in scores.rows]
  assert ious == [image["iou"] for image in content["per_image"]]


def test_the_official_numbers_of_refcoco(tmp_path):
  truth, content = golden("refcoco_case", "refcoco")
  scores = score(truth, write(tmp_path / "x.json", content["predictions"]))
  for kind, case in (("", "expected_mask"), ("box_", "expected_bbox")):
    for k, value in content[case]["precision_at"].items():
      actual = scores.numbers[f"{kind}P@{k}"]
      assert actual == pytest.approx(value, abs=1e-9)
    for key in ("overall_iou", "mean_iou"):
      actual = scores.numbers[kind + key]
      assert actual == pytest.approx(content[case][key], abs=1e-9)
  for key, value in zip(("AP", "AP50", "AP75"), content["coco_segm_stats"]):
    assert scores.numbers[key] == pytest.approx(value, abs=1e-9)
  # No IoU of the case is exactly one half.
  actual = scores.numbers["box_Acc@0.5"]
  assert (
    actual
    == scores.numbers["box_P@0.5"]
    == scores.intervals["box_Acc@0.5"].mean
  )
  assert scores.main == "overall_iou"
  assert set(scores.rows[0].values) == {"IoU", "box_IoU"}


@pytest.mark.parametrize("zipped", [False, True])
def test_faults_are_named_at_once(zipped, tmp_path):
  truth, content = golden("a2d_case", "a2d")
  found = content["predictions"]
  ids = [image["id"] for image in content["ground_truth"]["images"]]
  found = [entry for entry in found if entry["image_id"] != ids[0]]
  found[0]["segmentation"]["size"] = [3, 4]
  found[1]["segmentation"]["counts"] = "0"
  found[2]["score"] = float("nan")
  found[3] = ["nothing"]
  found[-1]["image_id"] = "v_other_f_1_i_1"
  path = write(tmp_path / "x.json", found)
  if zipped:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
      archive.write(path, "mine/predictions.json")
    path = tmp_path / "x.zip"
  with pytest.raises(faults_lib.Unusable) as caught:
    score(truth, path)
  lines = caught.value.faults.lines()
  assert lines[:2] == ["1 missing:", f"  image '{ids[0]}'"]
  assert f"entry 0, image '{ids[1]}': a mask of 3x4 pixels" in lines[3]
  assert lines[4] == "3 wrongly encoded:"
  assert "runs of" in lines[5] and "score nan" in lines[6]
  assert "['nothing'], expected a JSON list" in lines[7]
  assert lines[8:] == ["1 not asked for:", "  image 'v_other_f_1_i_1'"]


def test_missing_images_may_count_as_empty(tmp_path):
  truth, content = golden("a2d_case", "a2d")
  first = content["per_image"][0]["image_id"]
  found = [e for e in content["predictions"] if e["image_id"] != first]
  path = write(tmp_path / "x.json", found)
  whole = score(truth, write(tmp_path / "y.json", content["predictions"]))
  scores = score(truth, path, allow_missing=True)
  assert "1 masks are missing and count as empty" in scores.notes[0]
  assert scores.rows[0].values["IoU"] < 1e-6 < whole.rows[0].values["IoU"]
  assert scores.rows[1:] == whole.rows[1:]
  assert scores.numbers["AP"] < whole.numbers["AP"]


def test_what_is_no_predictions(tmp_path):
  truth, content = golden("refcoco_case", "refcoco")
  found = content["predictions"]
  path = tmp_path / "x.json"
  strings = [{**entry, "image_id": str(entry["image_id"])} for entry in found]
  with pytest.raises(UserError, match="images such as 1, found '1'"):
    score(truth, write(path, strings))
  with pytest.raises(UserError, match="holds a dict, expected a JSON list"):
    score(truth, write(path, {}))
  (tmp_path / "y.json").write_text("[")
  with pytest.raises(UserError, match="y.json: not JSON"):
    score(truth, tmp_path / "y.json")
  with pytest.raises(UserError, match="expected one JSON file.*x.json, y.json"):
    score(truth, tmp_path)


def test_run_lengths_may_be_lists(tmp_path):
  truth, content = golden("refcoco_case", "refcoco")
  found = content["predictions"]
  expected = score(truth, write(tmp_path / "x.json", found))
  for entry in found:
    code = entry["segmentation"]
    code["counts"] = run_lengths.runs(code).tolist()
  assert score(truth, write(tmp_path / "y.json", found)) == expected


def test_the_best_query_alone_is_noted(tmp_path):
  truth, content = golden("a2d_case", "a2d")
  every = score(truth, write(tmp_path / "x.json", content["predictions"]))
  best = average_precision.best_only(content["predictions"])
  alone = score(truth, write(tmp_path / "x.json", best))
  assert alone.numbers["AP"] == every.numbers["AP_best_query"]
  assert alone.notes[0].startswith("one prediction an image or fewer: AP is of")
  assert not every.notes


def test_a_crowd_cannot_be_scored(tmp_path):
  truth, content = golden("refcoco_case", "refcoco")
  del truth.source.annotations[3]["bbox"]
  path = write(tmp_path / "x.json", content["predictions"])
  with pytest.raises(UserError, match="expression image3/3: no instance"):
    score(truth, path)


def test_boxes_may_lack(tmp_path):
  truth, content = golden("refcoco_case", "refcoco")
  found = content["predictions"]
  found[0]["bbox"] = [1, 2, 3, float("inf")]
  found[1]["bbox"] = [1, 2, 3]
  with pytest.raises(faults_lib.Unusable) as caught:
    score(truth, write(tmp_path / "x.json", found))
  assert caught.value.faults.number("encoding") == 2
  for entry in found[:5]:
    entry.pop("bbox")
  scores = score(truth, write(tmp_path / "x.json", found))
  assert scores.notes[0].endswith(
    "1 images have none, which counts as no overlap"
  )
  assert scores.rows[0].values["box_IoU"] < 1e-6
  for entry in found[5:]:
    del entry["bbox"]
  scores = score(truth, write(tmp_path / "x.json", found))
  assert "no boxes are predicted" in scores.notes
  assert set(scores.rows[0].values) == {"IoU"}


@pytest.mark.parametrize("name", ["a2d", "jhmdb", "refcoco+"])
def test_ids_are_those_of_the_published_files(name, miniatures, tmp_path):
  """The ground truth as its own prediction is perfect."""
  make = getattr(miniatures, f"make_{name.rstrip('+')}")
  if name == "a2d":
    pytest.importorskip("h5py")
    root = make(tmp_path, train=1, test=1)
  elif name == "jhmdb":
    root = make(tmp_path, videos=2)
  else:
    root = make(tmp_path, images=4)
  truth = protocols.find_truth(root, name if name[-1] == "+" else None)
  found = []
  for e in truth.source.expressions:
    (mask,) = truth.source.read_masks(e, [e.frame])
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    code["counts"] = code["counts"].decode()
    i = annotated_frames.image_id(name, e)
    box = truth.source.box(e)
    found.append({"image_id": i, "segmentation": code, "score": 0.5})
    if box is not None:
      found[-1]["bbox"] = box.tolist()
  scores = score(truth, write(tmp_path / "x.json", found))
  for key in ("AP", "P@0.9", "mean_iou", "overall_iou"):
    assert scores.numbers[key] == pytest.approx(1), key
  if name == "refcoco+":
    assert scores.numbers["box_overall_iou"] == pytest.approx(1)
  else:
    (path,) = root.glob("*_annotations_in_coco_format.json")
    published = json.loads(path.read_text())
    ids = [image["id"] for image in published["images"]]
    assert [entry["image_id"] for entry in found] == ids
    codes = [a["segmentation"] for a in published["annotations"]]
    assert [entry["segmentation"] for entry in found] == codes
