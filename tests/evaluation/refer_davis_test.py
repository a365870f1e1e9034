"""The DAVIS protocol through files, against the official code's numbers."""

import csv
import json
import pathlib

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import davis, refer_davis
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import truth as truth_lib

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/eval"
CASES = json.loads((GOLDEN / "davis_sequences.json").read_text())
SEQUENCES = [name for name in CASES["unsupervised"] if name != "all"]


@pytest.fixture(scope="module")
def maps():
  return dict(np.load(GOLDEN / "davis_sequences.npz"))


def write(folder, labels):
  folder.mkdir(parents=True)
  for t, label in enumerate(labels):
    image = PIL.Image.fromarray(label).convert("P")
    image.save(folder / f"{t:05d}.png")


def make_truth(root, maps, sequences=SEQUENCES, described=2):
  """Ref-DAVIS17, converted, of the golden label maps."""
  videos = {}
  for video in sequences:
    labels = maps[f"{video}_gt"]
    write(root / "valid/Annotations" / video, labels)
    frames = root / "valid/JPEGImages" / video
    frames.mkdir(parents=True)
    for t in range(len(labels)):
      image = PIL.Image.new("RGB", labels.shape[:0:-1])
      image.save(frames / f"{t:05d}.jpg")
    videos[video] = {
      "expressions": {
        str(k): {"exp": f"sentence {k}", "obj_id": str(k // 4 + 1)}
        for k in range(4 * described)
      },
      "frames": [f"{t:05d}" for t in range(len(labels))],
    }
  path = root / "meta_expressions/valid/meta_expressions.json"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps({"videos": videos}))
  return truth_lib.Truth("refer_davis", root, "valid")


@pytest.fixture(scope="module")
def truth(maps, tmp_path_factory):
  return make_truth(tmp_path_factory.mktemp("refer_davis"), maps)


@pytest.fixture(scope="module")
def predictions(maps, tmp_path_factory):
  """The rule of the golden file: three shifted predictions and the truth."""
  root = tmp_path_factory.mktemp("predictions") / "DVS_Annotations"
  for a in range(4):
    for video in SEQUENCES:
      labels = np.roll(maps[f"{video}_pred"], a, 2)
      if a == 3:
        true = maps[f"{video}_gt"]
        labels = np.where(true == davis.VOID, 0, true)
      write(root / f"anno_{a}" / video, labels)
  return root


@pytest.fixture(scope="module")
def scores(truth, predictions):
  return refer_davis.score(truth, predictions.parent, protocol="p")


def _close(actual, expected):
  assert list(actual) == list(expected)
  for name, value in expected.items():
    assert actual[name] == pytest.approx(value, abs=1e-9), name


def test_four_annotators(scores):
  _close(scores.numbers, CASES["four_annotators"]["mean"])
  assert scores.main == "J&F-Mean"
  interval = scores.intervals["J&F-Mean"]
  assert interval.mean == pytest.approx(scores.numbers["J&F-Mean"], abs=1e-9)


def test_official_tables(scores, tmp_path):
  (tmp_path / "anno_0").mkdir()
  for name in ("global_results-val.csv", "per-sequence_results-val.csv"):
    (tmp_path / "anno_0" / name).write_text("of another run")
  scores.save(tmp_path)
  for a, expected in enumerate(CASES["four_annotators"]["per_annotator"]):
    with (tmp_path / f"anno_{a}/global_results-val.csv").open() as file:
      names, values = csv.reader(file)
    assert names == list(expected)
    assert values == [f"{value:.5f}" for value in expected.values()]
  with (tmp_path / "anno_0/per-sequence_results-val.csv").open() as file:
    header, *rows = csv.reader(file)
  assert header == ["Sequence", "J-Mean", "F-Mean"]
  expected = {
    name: values
    for video in SEQUENCES
    for name, values in CASES["unsupervised"][video]["per_object"].items()
  }
  assert rows == [
    [name, f"{values['J']:.5f}", f"{values['F']:.5f}"]
    for name, values in expected.items()
  ]


def test_rows_name_their_sentences(scores):
  """Label k of annotator a answers sentence 4 (k - 1) + a."""
  video = SEQUENCES[0]
  rows = {r.expression: r for r in scores.rows if r.video == video}
  assert len(rows) == 4 * CASES["unsupervised"][video]["n_gt_objects"]
  # Annotator 3 is the truth itself.
  row = rows["7"]
  assert row.sentence == "sentence 7"
  assert row.values["J"] == row.values["F"] == row.values["own object"] == 1
  without = [r for r in scores.rows if r.sentence.startswith("(no sentence")]
  assert without[0].expression.startswith("anno_0 label ")
  assert np.isnan(without[0].values["own object"])


def test_undescribed_objects_are_noted(maps, tmp_path, predictions):
  video = SEQUENCES[0]
  truth = make_truth(tmp_path, maps, [video], described=1)
  surplus, note = refer_davis.score(truth, predictions, protocol="p").notes
  assert note.startswith("2 objects in the masks, 1 described; 1 are without")
  assert "not asked for" in surplus


@pytest.mark.parametrize("video", CASES["semi-supervised"])
def test_semi_supervised(video, maps, tmp_path):
  truth = make_truth(tmp_path / "truth", maps, [video])
  for a in range(4):
    write(tmp_path / f"pred/anno_{a}" / video, maps[f"{video}_pred"])
  scores = refer_davis.score(
    truth, tmp_path / "pred", protocol="p", task="semi-supervised"
  )
  expected = CASES["semi-supervised"][video]
  _close(scores.numbers, expected["global_"])
  for k, values in enumerate(expected["per_object"].values()):
    assert scores.rows[k].values["J"] == pytest.approx(values["J"], abs=1e-9)
    assert scores.rows[k].values["F"] == pytest.approx(values["F"], abs=1e-9)


def test_faults_are_named(maps, tmp_path):
  video = SEQUENCES[0]
  truth = make_truth(tmp_path / "truth", maps, [video])
  labels = maps[f"{video}_pred"].copy()
  labels[1, 5, 5] = 38  # The red of the palette as grey.
  for a in range(3):
    write(tmp_path / f"pred/anno_{a}" / video, labels)
  with pytest.raises(faults_lib.Unusable) as caught:
    refer_davis.score(truth, tmp_path / "pred", protocol="p")
  faults = caught.value.faults
  assert faults.number("missing") == len(labels)
  assert faults.number("encoding") == 3
  assert "00001.png: label 38, expected a palette PNG" in str(caught.value)


def test_built_data_sets_are_refused(truth):
  class Built(truth_lib.Truth):
    source = object()

  with pytest.raises(UserError, match="has no void pixels"):
    refer_davis.score(Built("refer_davis", "x", "valid"), "y", protocol="p")
