"""Zips for servers hold what the expression file lists, and nothing else."""

import io
import json
import zipfile

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.cli import main
from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import mask_writer, submission
from sgmg_jax.evaluation import truth as truth_lib


@pytest.fixture(scope="module")
def ytvos(miniatures, tmp_path_factory):
  root = miniatures.make_refer_ytvos(tmp_path_factory.mktemp("ytvos"))
  return truth_lib.Truth("refer_ytvos", root, "valid")


def predict(truth, folder):
  """A mask of the left half for every sentence and frame."""
  for e in truth.sentences.expressions:
    video = truth.sentences.video(e.video)
    masks = np.zeros((len(video.frames), *video.size), bool)
    masks[..., : video.size[1] // 2] = True
    place = folder / "Annotations" / e.video / e.id
    mask_writer.write_masks(place, video.frames, masks)
  return folder


def test_the_tree_is_that_of_the_expression_file(ytvos, tmp_path):
  out = tmp_path / "submission.zip"
  summary = submission.pack(ytvos, predict(ytvos, tmp_path / "masks"), out)
  path = f"{ytvos.path}/meta_expressions/valid/meta_expressions.json"
  with open(path) as file:
    videos = json.load(file)["videos"]
  with zipfile.ZipFile(out) as archive:
    listed = {
      f"Annotations/{video}/{e}/{frame}.png"
      for video in {e.video for e in ytvos.sentences.expressions}
      for e in videos[video]["expressions"]
      for frame in videos[video]["frames"]
    }
    assert set(archive.namelist()) == listed and len(listed) == summary.masks
    for name in archive.namelist():
      with PIL.Image.open(io.BytesIO(archive.read(name))) as image:
        assert image.mode == "L"
        assert set(np.unique(np.asarray(image))) == {0, 255}


def test_mevis_has_videos_at_the_top(miniatures, tmp_path):
  root = miniatures.make_mevis(tmp_path / "data")
  truth = truth_lib.Truth("mevis", root, "valid")
  out = tmp_path / "submission.zip"
  submission.pack(truth, predict(truth, tmp_path / "masks"), out)
  with zipfile.ZipFile(out) as archive:
    tops = {name.split("/")[0] for name in archive.namelist()}
  assert tops == {e.video for e in truth.sentences.expressions}


def test_everything_wrong_is_named_and_nothing_written(ytvos, tmp_path):
  folder = predict(ytvos, tmp_path / "masks")
  first, second, *_ = sorted((folder / "Annotations").rglob("*.png"))
  first.unlink()
  PIL.Image.new("RGB", (128, 96)).save(second)
  out = tmp_path / "submission.zip"
  with pytest.raises(faults_lib.Unusable) as error:
    submission.pack(ytvos, folder, out)
  text = "\n".join(error.value.faults.lines())
  assert f"{first.parent.name}/{first.name}" in text
  assert second.name in text and "RGB" in text
  assert "--allow-missing" not in str(error.value)  # No option of `submit`.
  assert not out.exists()


def test_other_data_sets_have_no_server(miniatures, tmp_path):
  root = miniatures.make_own(tmp_path, valid=1)
  truth = truth_lib.Truth("own", root, "valid")
  with pytest.raises(UserError, match="no server .* own, expected refer_ytvos"):
    submission.pack(truth, tmp_path, tmp_path / "x.zip")


def test_the_command_packs_a_folder_of_evaluate(ytvos, tmp_path, capsys):
  run = tmp_path / "run"
  predict(ytvos, run / "predictions")
  (run / "run.json").write_text("{}")
  out = tmp_path / "a.zip"
  command = ["submit", ytvos.path, str(run), "--out", str(out)]
  command += ["--data", "refer_ytvos"]
  assert main.main(command) == 0
  assert "sentences about 2 videos" in capsys.readouterr().out
  assert zipfile.is_zipfile(out)
  assert main.main(command) == 2  # It is there already.
  assert main.main([*command, "--overwrite"]) == 0
