"""Result folders: complete or absent, readable by standard tools."""

import json

import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from sgmg_jax import errors
from sgmg_jax.inference import results
from sgmg_jax.inference import video as video_lib

EXPRESSIONS = ("a red ball!", "Der Hund", "犬")


@pytest.fixture(scope="module")
def frames():
  return np.random.RandomState(0).randint(0, 255, (7, 31, 45, 3), np.uint8)


@pytest.fixture(scope="module")
def segmentation(frames):
  rng = np.random.RandomState(1)
  masks = np.zeros((3, 7, 31, 45), bool)
  masks[0, :, 5:20, 7:30] = True
  masks[1, 2] = rng.rand(31, 45) > 0.5
  return results.Segmentation(
    expressions=EXPRESSIONS,
    masks=masks,
    scores=rng.rand(3, 7).astype(np.float32),
    boxes=rng.rand(3, 7, 4).astype(np.float32) * 30,
    video=video_lib.open_video(frames, fps=5),
    checkpoint="mu",
    threshold=0.5,
    times=[t / 5 for t in range(7)],
    numbers=list(range(7)),
  )


def test_folder_holds_what_was_segmented(segmentation, tmp_path):
  summary = segmentation.save(tmp_path / "out")
  assert summary.path == tmp_path / "out" and summary.num_frames == 7
  np.testing.assert_allclose(summary.scores, segmentation.scores.mean(1), 1e-6)
  names = {path.name for path in summary.path.iterdir()}
  assert names == {"contact_sheet.png", "overlay.mp4", "masks", "results.json"}
  assert [path.name for path in tmp_path.iterdir()] == ["out"]

  saved = json.loads((summary.path / "results.json").read_text())
  assert saved["video"] == {
    "name": "array",
    "height": 31,
    "width": 45,
    "fps": 5,
    "num_frames": 7,
    "pixel_aspect": 1.0,
    "timestamps": [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2],
    "skipped_frames": [],
  }
  assert saved["checkpoint"] == "mu" and saved["threshold"] == 0.5
  folders = [entry["masks"] for entry in saved["expressions"]]
  assert folders == ["masks/00_a_red_ball", "masks/01_der_hund", "masks/02"]
  for index, entry in enumerate(saved["expressions"]):
    assert entry["text"] == EXPRESSIONS[index]
    scores = segmentation.scores[index]
    assert entry["score"] == pytest.approx(scores.mean(), abs=1e-4)
    assert len(entry["frames"]) == 7
    for t, frame in enumerate(entry["frames"]):
      mask = segmentation.masks[index, t]
      np.testing.assert_array_equal(coco_mask.decode(frame["rle"]), mask)
      np.testing.assert_array_equal(results.decode_rle(frame["rle"]), mask)
      assert frame["score"] == pytest.approx(scores[t], abs=1e-4)
      box = segmentation.boxes[index, t]
      np.testing.assert_allclose(frame["box"], box, atol=0.01)
      path = summary.path / entry["masks"] / f"{frame['frame']}.png"
      image = PIL.Image.open(path)
      assert image.mode == "P"
      np.testing.assert_array_equal(np.asarray(image), mask)
      assert image.getpalette()[3:6] != image.getpalette()[:3]


def test_overlay_shows_frames_and_masks(segmentation, frames, tmp_path):
  summary = segmentation.save(tmp_path / "out")
  overlay = video_lib.open_video(summary.path / "overlay.mp4")
  assert overlay.fps == pytest.approx(5)
  decoded = list(overlay)
  assert len(decoded) == 7
  # Enlarged eleven times, captions below.
  assert overlay.width == 45 * 11 + 1 and overlay.height > 31 * 11
  inside, outside = decoded[0][8 * 11, 15 * 11], decoded[0][28 * 11, 40 * 11]
  assert inside[0] > inside[2] + 30, "red tint of the first expression"
  assert abs(outside.astype(int) - frames[0, 28, 40]).max() < 90
  with PIL.Image.open(summary.path / "contact_sheet.png") as sheet:
    assert sheet.width > 5 * 200


def test_nothing_is_left_after_an_error(segmentation, tmp_path):
  writer = results.ResultWriter(
    tmp_path / "out",
    segmentation.video,
    EXPRESSIONS,
    checkpoint="mu",
    threshold=0.5,
  )
  with pytest.raises(RuntimeError, match="stop"):
    with writer:
      window = np.s_[:, :2]
      writer.add(
        results.WindowResult(
          0,
          list(segmentation.video)[:2],
          segmentation.masks[window],
          segmentation.scores[window],
          segmentation.boxes[window],
          segmentation.times[:2],
          segmentation.numbers[:2],
        )
      )
      raise RuntimeError("stop")
  assert not list(tmp_path.iterdir())


def test_only_earlier_results_are_overwritten(segmentation, tmp_path):
  out = tmp_path / "out"
  out.mkdir()
  segmentation.save(out)  # An empty folder is as good as none.
  with pytest.raises(errors.UserError, match="not empty"):
    segmentation.save(out)
  segmentation.save(out, overwrite=True)
  (out / "thesis.tex").write_text("years of work")
  with pytest.raises(errors.UserError, match=r"thesis\.tex"):
    segmentation.save(out, overwrite=True)
  assert (out / "thesis.tex").exists() and (out / "results.json").exists()
  with pytest.raises(errors.UserError, match="a file"):
    segmentation.save(out / "thesis.tex")


def test_save_needs_the_frames_again(segmentation, frames, tmp_path):
  reader = video_lib.open_video(iter(frames))
  streamed = results.Segmentation(
    **{**vars(segmentation), "video": reader},
  )
  with pytest.raises(errors.UserError, match=r"save\(out, video=...\)"):
    streamed.save(tmp_path / "out")
  assert streamed.save(tmp_path / "out", video=frames).num_frames == 7
