"""The DAVIS protocol against the official code's numbers."""

import json
import pathlib

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import davis, statistics

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/eval"
CASES = json.loads((GOLDEN / "davis_sequences.json").read_text())
SEQUENCES = [name for name in CASES["unsupervised"] if name != "all"]


@pytest.fixture(scope="module")
def maps():
  return dict(np.load(GOLDEN / "davis_sequences.npz"))


def _close(actual, expected):
  assert actual.keys() == expected.keys()
  for name, value in expected.items():
    assert actual[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_official_sequence(name, maps):
  pred, truth = maps[f"{name}_pred"], maps[f"{name}_gt"]
  region, boundary = davis.pair_scores(pred, truth)
  np.testing.assert_allclose(region, maps[f"{name}_J"], rtol=0, atol=1e-9)
  np.testing.assert_allclose(boundary, maps[f"{name}_F"], rtol=0, atol=1e-9)
  expected = CASES["unsupervised"][name]
  result = davis.evaluate_sequence(pred, truth)
  _close(davis.results([result]), expected["global_"])
  for i, values in enumerate(expected["per_object"].values()):
    assert result.region[i].mean() == pytest.approx(values["J"], abs=1e-9)
    assert result.boundary[i].mean() == pytest.approx(values["F"], abs=1e-9)
  for kind, frames in (("J", result.region), ("F", result.boundary)):
    found = [statistics.over_frames(values) for values in frames]
    for key, name in (("R", "recall"), ("D", "decay")):
      of_objects = [getattr(one, name) for one in found]
      assert of_objects == pytest.approx(expected[f"{kind}_{key}"], abs=1e-9)


def test_all_sequences_count_by_objects(maps):
  results = [
    davis.evaluate_sequence(maps[f"{n}_pred"], maps[f"{n}_gt"])
    for n in SEQUENCES
  ]
  _close(davis.results(results), CASES["unsupervised"]["all"]["global_"])


def test_four_annotators(maps):
  """The rule of the golden file: three shifted predictions and the truth."""

  def results(annotator):
    out = []
    for name in SEQUENCES:
      truth = maps[f"{name}_gt"]
      if annotator == 3:
        pred = np.where(truth == davis.VOID, 0, truth)
      else:
        pred = np.roll(maps[f"{name}_pred"], annotator, 2)
      out.append(davis.evaluate_sequence(pred, truth))
    return davis.results(out)

  per_annotator = [results(a) for a in range(4)]
  expected = CASES["four_annotators"]
  for actual, golden in zip(per_annotator, expected["per_annotator"]):
    _close(actual, golden)
  _close(davis.mean_results(per_annotator), expected["mean"])


def test_merged_expressions():
  with np.load(GOLDEN / "postprocess_cases.npz") as file:
    merged = davis.merge_expressions(file["davis_probs"])
    np.testing.assert_array_equal(merged, file["davis_merged"])


def test_bad_masks_are_named():
  truth = np.ones((2, 4, 5), np.uint8)
  with pytest.raises(UserError, match=r"\[2, 4, 6\]: expected \[2, 4, 5\]"):
    davis.evaluate_sequence(np.ones((2, 4, 6), np.uint8), truth)
  with pytest.raises(UserError, match="21 objects in the masks"):
    davis.evaluate_sequence(np.full((2, 4, 5), 21, np.uint8), truth)


def test_same_objects_must_be_there():
  truth = np.ones((3, 4, 5), np.uint8)
  with pytest.raises(UserError, match="object 2 in the masks: .* has 1"):
    davis.evaluate_same_objects(2 * truth, truth)
  with pytest.raises(UserError, match="2 frames: expected 3"):
    davis.evaluate_same_objects(truth[:2], truth[:2])
