"""Result folders: complete or absent, readable by standard tools."""

import base64
import dataclasses
import io
import json
import pathlib

import av
import numpy as np
import PIL.Image
import pytest
from pycocotools import mask as coco_mask

from sgmg_jax import errors
from sgmg_jax.inference import display, results
from sgmg_jax.inference import open_video as video_lib

CASES = pathlib.Path(__file__).parents[1] / "video_cases"
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


def _save(name, out):
  """Saves a square in every frame of a case."""
  reader = video_lib.open_video(CASES / name)
  timed = list(reader.timed())
  masks = np.zeros((1, len(timed), reader.height, reader.width), bool)
  masks[:, :, 30:90, 20:110] = True
  segmentation = results.Segmentation(
    expressions=("the red circle",),
    masks=masks,
    scores=np.ones(masks.shape[:2], np.float32),
    boxes=np.ones((*masks.shape[:2], 4), np.float32),
    video=reader,
    checkpoint="mu",
    threshold=0.5,
    times=[frame.time for frame in timed],
    numbers=[frame.number for frame in timed],
  )
  segmentation.save(out)
  return json.loads((out / "results.json").read_text())


def test_time_stamps_of_variable_rate(tmp_path):
  times = [0, 0.125, 0.25, 0.375, 0.5, 1.5, 2.5, 3.5]
  saved = _save("vfr.mp4", tmp_path / "out")
  assert saved["video"]["timestamps"] == times
  overlay = video_lib.open_video(tmp_path / "out" / "overlay.mp4")
  shown = [frame.time for frame in overlay.timed()]
  np.testing.assert_allclose(shown, times, atol=1e-4)


def test_masks_carry_the_numbers_of_the_video(tmp_path):
  path = tmp_path / "v.mp4"
  data = (CASES / "base.mp4").read_bytes()
  with av.open(str(CASES / "base.mp4")) as container:
    packet = next(p for p in container.demux(video=0) if p.pts == 3 * 2048)
    start, end = packet.pos, packet.pos + packet.size
  path.write_bytes(data[:start] + b"\xff" * (end - start) + data[end:])
  saved = _save(path, tmp_path / "out")
  assert saved["video"]["skipped_frames"] == [3]
  assert saved["video"]["num_frames"] == 7
  names = [f"{number:05d}" for number in (0, 1, 2, 4, 5, 6, 7)]
  (expression,) = saved["expressions"]
  assert [frame["frame"] for frame in expression["frames"]] == names
  folder = tmp_path / "out" / expression["masks"]
  assert sorted(p.stem for p in folder.iterdir()) == names


def test_pixels_that_are_not_square(tmp_path):
  saved = _save("sar2.mp4", tmp_path / "out")
  assert saved["video"]["pixel_aspect"] == 2
  assert (saved["video"]["height"], saved["video"]["width"]) == (160, 240)
  (path, *_) = (tmp_path / "out" / "masks").rglob("*.png")
  with PIL.Image.open(path) as mask:
    assert mask.size == (240, 160), "masks have the stored size"
  overlay = video_lib.open_video(tmp_path / "out" / "overlay.mp4")
  assert overlay.width == 480 and overlay.pixel_aspect == 1
  assert 160 < overlay.height < 240, "the caption is below"
  with PIL.Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
    assert sheet.height < 300, "thumbnails are three times as wide as high"
  frame = next(iter(overlay))
  white = np.all(frame[:160] > 200, 2).nonzero()
  # The mask's outline, twice as far from the left as in the stored frame.
  assert abs(white[1].min() - 40) <= 2 and abs(white[1].max() - 219) <= 2


def test_a_notebook_shows_the_contact_sheet(segmentation):
  page = segmentation._repr_html_()
  start = page.index("base64,") + len("base64,")
  data = base64.b64decode(page[start : page.index('"', start)])
  with PIL.Image.open(io.BytesIO(data)) as sheet:
    assert sheet.format == "JPEG" and sheet.width > 5 * 200
  # Noise, the worst of pictures.
  assert len(page) < 600_000
  score = segmentation.scores[0].mean()
  assert f"<td>{score:.2f}</td><td>a red ball!</td>" in page
  assert "<td>犬</td>" in page


def test_sentences_are_escaped(segmentation):
  shown = dataclasses.replace(
    segmentation, expressions=("<script>", "a & b", "c")
  )
  page = shown._repr_html_()
  assert "&lt;script&gt;" in page and "<script>" not in page


def test_frames_that_are_gone_are_grey(segmentation, frames):
  reader = video_lib.open_video(iter(frames))
  streamed = dataclasses.replace(segmentation, video=reader)
  sheet = np.asarray(display.contact_sheet(streamed))
  assert np.all(sheet == 110, -1).mean() > 0.2
  assert np.any(sheet != np.asarray(display.contact_sheet(segmentation)))


def test_show_opens_the_viewer(segmentation, monkeypatch):
  shown = []
  record = lambda picture: shown.append(picture)
  monkeypatch.setattr(PIL.Image.Image, "show", record)
  segmentation.show()
  assert [picture.size for picture in shown] == [
    display.contact_sheet(segmentation).size
  ]
