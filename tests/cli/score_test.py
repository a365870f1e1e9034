"""`sgmg score`, from a data set's folder and masks to numbers and files."""

import json
import re

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.cli import main
from sgmg_jax.evaluation import protocols


@pytest.fixture
def folders(miniatures, tmp_path):
  """Own data, and the truth as its prediction."""
  root = miniatures.make_own(tmp_path, train=1, num_frames=2)
  source = protocols.find_truth(root).source
  for e in source.expressions:
    folder = tmp_path / "masks" / e.video / e.id
    folder.mkdir(parents=True)
    frames = source.video(e.video).frames
    for frame, mask in zip(frames, source.read_masks(e, range(len(frames)))):
      image = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
      image.save(folder / f"{frame}.png")
  return str(root), str(tmp_path / "masks")


def test_several_processes_find_the_same(miniatures, tmp_path):
  root = miniatures.make_own(tmp_path, train=1, valid=2, num_frames=2)
  truth = protocols.find_truth(root)
  for e in truth.source.expressions:
    folder = tmp_path / "masks" / e.video / e.id
    folder.mkdir(parents=True)
    for frame in truth.source.video(e.video).frames:
      PIL.Image.new("1", (128, 96)).save(folder / f"{frame}.png")
  one, two = (
    protocols.score(truth, tmp_path / "masks", processes=n) for n in (1, 2)
  )
  assert one == two


def test_folders_of_evaluate_are_opened(folders, tmp_path, capsys):
  root, _ = folders
  run = tmp_path / "run"
  run.mkdir()
  (tmp_path / "masks").rename(run / "predictions")
  for name in ("run.json", "scores.json"):
    (run / name).write_text("{}")
  assert main.main(["score", root, str(run)]) == 0
  assert "note" not in capsys.readouterr().out


def test_numbers_and_files(folders, tmp_path, capsys):
  out = tmp_path / "new/scores"
  assert main.main(["score", *folders, "--out", str(out)]) == 0
  printed = capsys.readouterr().out
  assert printed.startswith("own, in percent: J&F, mean over frames")
  assert re.search(r"^  J&F +100\.00$", printed, re.M)
  assert json.loads((out / "scores.json").read_text())["numbers"]["J&F"] == 1
  assert len((out / "sentences.csv").read_text().splitlines()) > 2


def test_faults_are_listed(folders, tmp_path, capsys):
  removed = sorted((tmp_path / "masks").rglob("*.png"))[:2]
  removed[0].unlink()
  PIL.Image.new("L", (7, 5)).save(removed[1])
  assert main.main(["score", *folders]) == 2
  lines = capsys.readouterr().err.splitlines()
  assert lines[0] == "1 missing:"
  assert lines[2] == "1 of another size:"
  assert lines[-1].startswith("sgmg: error: ") and "--allow-" in lines[-1]
  PIL.Image.new("L", (128, 96)).save(removed[1])
  assert main.main(["score", *folders, "--allow-missing"]) == 0
  assert "note: 1 masks are missing and count" in capsys.readouterr().out


@pytest.mark.parametrize(
  "options, message",
  [
    (["--split", "train"], "none of its masks is asked for: expected"),
    (["--split", "none"], "meta_expressions/none/meta_expressions.json: no"),
    (["--data", "mevis"], "valid_u/meta_expressions.json: no such file"),
    (["--version", "2"], "--version 2: for mevis, but"),
    (["--task", "unsupervised"], "--task unsupervised: for refer_davis"),
    (["--processes", "0"], "--processes 0: expected >= 1"),
    (["--out", "/proc/x"], "cannot write /proc/x"),
  ],
)
def test_bad_arguments(options, message, folders, capsys):
  assert main.main(["score", *folders, *options]) == 2
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1


def test_the_first_scores_are_kept_if_the_second_cannot_be_read(
  folders, tmp_path, capsys
):
  out = tmp_path / "scores"
  command = ["score", *folders, "--out", str(out), "--compare", "nowhere"]
  assert main.main(command) == 2
  printed = capsys.readouterr()
  assert "J&F" in printed.out and "nowhere: No such file" in printed.err
  assert (out / "scores.json").exists()
