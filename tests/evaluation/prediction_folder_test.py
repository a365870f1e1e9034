"""Folders of predictions go on where a run stopped, and never mix runs."""

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import prediction_folder

RUN = {"checkpoint": "a", "window": None, "options": {"version": 2}}
Folder = prediction_folder.PredictionFolder


def test_goes_on_with_the_units_that_are_done(tmp_path):
  first = Folder(tmp_path / "out", RUN)
  assert not first.resumed and not first.done
  first.add("v1", {"windows": 1})
  first.add("v2", {"windows": 2})
  again = Folder(tmp_path / "out", dict(RUN), worker=0)
  assert again.resumed and again.done == {"v1", "v2"}
  assert again.records(["v2", "v1"]) == [
    {"unit": "v2", "windows": 2},
    {"unit": "v1", "windows": 1},
  ]


def test_a_line_cut_short_counts_as_not_written(tmp_path):
  first = Folder(tmp_path, RUN)
  first.add("v1", {})
  first.add("v2", {"windows": 1})
  log = tmp_path / "progress/00000.jsonl"
  log.write_bytes(log.read_bytes()[:-4])
  again = Folder(tmp_path, RUN)
  assert again.done == {"v1"}
  again.add("v2", {"windows": 3})
  assert Folder(tmp_path, RUN).records(["v1", "v2"])[1]["windows"] == 3


@pytest.mark.parametrize(
  "change, told",
  [
    ({"checkpoint": "b"}, 'checkpoint "a" (now "b")'),
    ({"window": 36}, "window null (now 36)"),
    ({"new": 1}, "new null (now 1)"),
  ],
)
def test_predictions_of_another_run_are_refused(tmp_path, change, told):
  Folder(tmp_path, RUN).add("v1", {})
  with pytest.raises(UserError, match="predictions of another run") as error:
    Folder(tmp_path, RUN | change)
  assert told in str(error.value)
  # Until they are to be overwritten; then nothing of them is left.
  other = Folder(tmp_path, RUN | change, overwrite=True)
  assert not other.done


def test_the_same_run_is_not_overwritten(tmp_path):
  Folder(tmp_path, RUN).add("v1", {})
  assert Folder(tmp_path, RUN, overwrite=True).done == {"v1"}


def test_files_of_somebody_else_stay(tmp_path):
  (tmp_path / "thesis.tex").write_text("x")
  for overwrite in (False, True):
    with pytest.raises(UserError, match=r"holds files but no run\.json"):
      Folder(tmp_path, RUN, overwrite=overwrite)
  assert (tmp_path / "thesis.tex").exists()
  with pytest.raises(UserError, match="a file, expected a folder"):
    Folder(tmp_path / "thesis.tex", RUN)


def test_units_that_lack_are_named(tmp_path):
  folder = Folder(tmp_path, RUN)
  folder.add("v1", {})
  with pytest.raises(UserError, match="2 of 3 units are not .* first is v2"):
    folder.records(["v1", "v2", "v3"])


def test_processes_share_a_folder(tmp_path):
  first = Folder(tmp_path, RUN)
  second = Folder(tmp_path, RUN, worker=1)
  first.add("v1", {})
  second.add("v2", {})
  assert [r["unit"] for r in first.records(["v1", "v2"])] == ["v1", "v2"]
  with pytest.raises(UserError, match="another run"):
    Folder(tmp_path, RUN | {"window": 1}, worker=1)


def test_one_evaluation_at_a_time(tmp_path):
  out = tmp_path / "new/out"
  with prediction_folder.alone(out):
    Folder(out, RUN).add("v1", {})
    with pytest.raises(UserError, match="in use by another evaluation"):
      with prediction_folder.alone(out):
        pytest.fail("two evaluations use the folder")
    # What is overwritten stays in use.
    Folder(out, RUN | {"window": 1}, overwrite=True)
    with pytest.raises(UserError, match="in use by another evaluation"):
      with prediction_folder.alone(out):
        pytest.fail("two evaluations use the folder")
  with prediction_folder.alone(out):
    assert not Folder(out, RUN | {"window": 1}).done
  with pytest.raises(UserError, match="a file, expected a folder"):
    with prediction_folder.alone(out / "run.json"):
      pytest.fail("a file is no folder")


def test_finds_the_predicted_files_of_a_run(tmp_path):
  Folder(tmp_path / "ours", RUN)
  found = prediction_folder.predictions_in(tmp_path / "ours")
  assert found == tmp_path / "ours/predictions"
  assert prediction_folder.predictions_in(tmp_path) == tmp_path
