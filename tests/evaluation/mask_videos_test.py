"""J&F of videos from files, against the metrics applied to the arrays."""

import json
import shutil
import zipfile

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import mask_videos, measures, protocols, temporal
from sgmg_jax.evaluation import truth as truth_lib


def predict(source):
  """(expression, masks): the truth, moved by two pixels."""
  for e in source.expressions:
    frames = source.video(e.video).frames
    yield e, np.roll(source.read_masks(e, range(len(frames))), 2, 2)


def write(source, folder):
  for e, masks in predict(source):
    place = folder / e.video / e.id
    place.mkdir(parents=True)
    for frame, mask in zip(source.video(e.video).frames, masks):
      image = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
      image.save(place / f"{frame}.png")
  return folder


def score(truth, path, **options):
  return mask_videos.score(truth, path, protocol="local", **options)


@pytest.fixture(scope="module")
def truth(miniatures, tmp_path_factory):
  root = miniatures.make_own(tmp_path_factory.mktemp("truth"), valid=2)
  return protocols.find_truth(root)


@pytest.fixture
def predictions(truth, tmp_path):
  return write(truth.source, tmp_path / "Annotations")


def check(scores, source):
  assert [(r.video, r.expression) for r in scores.rows] == [
    (e.video, e.id) for e in source.expressions
  ]
  all_j, all_f = [], []
  for row, (e, masks) in zip(scores.rows, predict(source)):
    true = source.read_masks(e, range(len(masks)))
    all_j.append(measures.region_similarity(masks, true).mean())
    all_f.append(measures.boundary_measure(masks, true).mean())
    assert row.sentence == e.text
    assert row.values["J"] == pytest.approx(all_j[-1], abs=1e-12)
    assert row.values["F"] == pytest.approx(all_f[-1], abs=1e-12)
    shown, true_shown = masks.any((1, 2)), true.any((1, 2))
    overlaps = map(temporal.successive_overlaps, (masks, true))
    expected = {
      "tIoU": temporal.temporal_iou(shown, true_shown),
      "vIoU": temporal.video_iou(
        measures.region_similarity(masks, true), shown, true_shown
      ),
      "stability": temporal.stability(*overlaps),
      "presence": np.mean(shown == true_shown),
    }
    for name, value in expected.items():
      assert row.values[name] == pytest.approx(value, abs=1e-12), name
  j, f = np.mean(all_j), np.mean(all_f)
  assert 0.3 < j < 0.95
  assert scores.numbers["J"] == pytest.approx(j, abs=1e-12)
  assert scores.numbers["F"] == pytest.approx(f, abs=1e-12)
  assert scores.numbers["J&F"] == pytest.approx((j + f) / 2, abs=1e-12)
  low, high = scores.intervals["J&F"][1:]
  assert low < scores.numbers["J&F"] < high
  assert not scores.notes


def test_own_data(truth, predictions, monkeypatch):
  assert (truth.name, truth.split) == ("own", "valid")
  # More than one part of a video.
  monkeypatch.setattr(mask_videos, "_FRAMES_AT_ONCE", 3)
  check(score(truth, predictions.parent), truth.source)


@pytest.mark.parametrize("version", [1, 2])
def test_mevis(version, miniatures, tmp_path):
  """Sentences about several objects and, in version 2, about none."""
  root = miniatures.make_mevis(tmp_path, version=version, valid_u=2)
  truth = protocols.find_truth(root)
  assert truth.name == "mevis"
  folder = write(truth.source, tmp_path / "x")
  scores = score(truth, folder)
  check(scores, truth.source)
  if version == 1:
    assert not {"N-acc", "T-acc"} & scores.numbers.keys()
    return
  about = [bool(e.object_ids) for e in truth.source.expressions]
  none, some = about.index(False), about.index(True)
  assert scores.numbers["N-acc"] == scores.numbers["T-acc"] == 1
  assert np.isnan(scores.rows[none].values["T-acc"])
  assert np.isnan(scores.rows[some].values["N-acc"])
  # One wrong answer of each kind.
  for number in (none, some):
    e = truth.source.expressions[number]
    files = sorted((folder / e.video / e.id).glob("*.png"))
    for file in files[:1] if number == none else files:
      size = PIL.Image.open(file).size
      PIL.Image.new("L", size, 255 if number == none else 0).save(file)
  scores = score(truth, folder)
  expected = pytest.approx(1 - 1 / about.count(False))
  assert scores.numbers["N-acc"] == expected
  expected = pytest.approx(1 - 1 / about.count(True))
  assert scores.numbers["T-acc"] == expected
  # One of six frames is wrongly not empty.
  assert scores.rows[none].values["presence"] == pytest.approx(5 / 6)
  assert scores.rows[none].values["J"] == pytest.approx(5 / 6)
  assert scores.rows[some].values["tIoU"] == 0


def test_a_zip_scores_as_the_folder(truth, predictions, tmp_path):
  path = tmp_path / "x.zip"
  with zipfile.ZipFile(path, "w") as archive:
    for file in sorted(predictions.rglob("*.png")):
      archive.write(file, file.relative_to(tmp_path))
  assert score(truth, path) == score(truth, predictions)


def test_missing_masks_stop_or_count_as_empty(truth, predictions):
  e = truth.source.expressions[0]
  frames = truth.source.video(e.video).frames
  for frame in frames[1:]:
    (predictions / e.video / e.id / f"{frame}.png").unlink()
  whole = next(masks for _, masks in predict(truth.source))
  with pytest.raises(faults_lib.Unusable, match="3 missing"):
    score(truth, predictions)
  scores = score(truth, predictions, allow_missing=True)
  true = truth.source.read_masks(e, range(len(frames)))
  whole[1:] = False
  expected = measures.region_similarity(whole, true).mean()
  assert scores.rows[0].values["J"] == pytest.approx(expected, abs=1e-12)
  assert scores.notes[0].startswith("3 masks are missing and count as empty")


def test_missing_and_wrong_masks_are_named_at_once(truth, predictions):
  first, second = sorted(predictions.rglob("*.png"))[:2]
  first.unlink()
  PIL.Image.new("L", (7, 5)).save(second)
  with pytest.raises(faults_lib.Unusable) as caught:
    score(truth, predictions)
  lines = caught.value.faults.lines()
  assert lines[0] == "1 missing:"
  assert "5x7 pixels, expected 96x128" in lines[3]
  with pytest.raises(faults_lib.Unusable, match="^[^;]*1 of another size"):
    score(truth, predictions, allow_missing=True)


class TestReferYTVOS:
  """The validation masks, whichever way they are laid out."""

  @pytest.fixture
  def root(self, miniatures, tmp_path):
    # Labels of split valid are those of RefShapes' clips, drawn here.
    root = miniatures.make_refer_ytvos(tmp_path, valid=1, num_frames=2)
    own = miniatures.make_own(tmp_path, valid=1, num_frames=2)
    shutil.copytree(own / "valid/Annotations", root / "valid/Labels")
    self.own = protocols.find_truth(own).source
    return root

  def test_masks_by_sentence(self, root, tmp_path):
    truth = truth_lib.Truth("refer_ytvos", root, "valid")
    for e in self.own.expressions:
      place = root / "valid/Annotations" / e.video / e.id
      place.mkdir(parents=True)
      for t, mask in enumerate(self.own.read_masks(e, range(2))):
        image = PIL.Image.fromarray(mask.astype(np.uint8))
        image.save(place / f"{5 * t:05d}.png")
    check_one_video(truth, tmp_path)
    place = place.with_name("0")
    PIL.Image.new("L", (7, 5)).save(place / "00005.png")
    with pytest.raises(UserError, match="00005.png: 5x7 pixels, expected 96x"):
      score(truth, tmp_path / "pred")
    (place / "00005.png").write_bytes(b"")
    with pytest.raises(UserError, match="00005.png: the file is empty"):
      score(truth, tmp_path / "pred")
    (place / "00005.png").unlink()
    truth = truth_lib.Truth("refer_ytvos", root, "valid")
    with pytest.raises(UserError, match="00005.png: no such file"):
      score(truth, tmp_path / "pred")

  def test_label_maps_and_named_objects(self, root, tmp_path):
    (root / "valid/Labels").rename(root / "valid/Annotations")
    path = root / "meta_expressions/valid/meta_expressions.json"
    content = json.loads(path.read_text())
    for video in content["videos"].values():
      for sentence in video["expressions"].values():
        sentence["obj_id"] = "1"
    path.write_text(json.dumps(content))
    truth = truth_lib.Truth("refer_ytvos", root, "valid")
    check_one_video(truth, tmp_path)

  def test_no_ground_truth(self, root):
    with pytest.raises(UserError, match="valid has no ground truth; put its"):
      _ = truth_lib.Truth("refer_ytvos", root, "valid").source
    with pytest.raises(UserError, match="test has no ground truth"):
      _ = truth_lib.Truth("refer_ytvos", root, "test").source


def check_one_video(truth, folder):
  scores = score(truth, write(truth.source, folder / "pred"))
  for row, (e, masks) in zip(scores.rows, predict(truth.source)):
    expected = measures.region_similarity(
      masks, truth.source.read_masks(e, range(len(masks)))
    )
    assert row.values["J"] == pytest.approx(expected.mean(), abs=1e-12)
  assert 0.3 < scores.numbers["J"] < 0.95
