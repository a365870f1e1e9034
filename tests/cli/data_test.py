"""sgmg data: its commands by way of an example of own data."""

import json

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.cli import main
from sgmg_jax.pictures import clip_sheet


@pytest.fixture(scope="module")
def own(tmp_path_factory):
  folder = tmp_path_factory.mktemp("example") / "own"
  sizes = [
    "--clips",
    "2",
    "--valid",
    "1",
    "--frames",
    "3",
    "--size",
    "64",
    "96",
  ]
  assert main.main(["data", "example", str(folder), *sizes]) == 0
  return folder


def test_example_is_what_the_doctor_expects(own, capsys):
  assert main.main(["data", "doctor", str(own), "--counts", "off"]) == 0
  assert "0 errors" in capsys.readouterr().out


def test_example_has_both_splits(own):
  for split, videos in (("train", 2), ("valid", 1)):
    path = own / "meta_expressions" / split / "meta_expressions.json"
    assert len(json.loads(path.read_text())["videos"]) == videos
    assert len(list((own / split / "JPEGImages").glob("*/*.jpg"))) == 3 * videos


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["example", "{own}"], "exists, expected a new folder"),
    (["example", "{own}2", "--clips", "0"], "--clips 0: expected >= 1"),
    (["example", "{own}2", "--size", "8", "8"], "32 pixels a side"),
    (["example", "/dev/null/own"], "cannot write /dev/null/own"),
    (["doctor", "{own}", "--report", "{own}"], "a folder, expected a file"),
    (["doctor", "{own}", "--json", "/dev/full"], "neither a file nor a folder"),
    (["show", "own", "{own}", "--out", "{own}"], "a folder, expected a file"),
    (["show", "own", "{own}2", "--out", "{out}"], "no such folder"),
    (["show", "jhmdb", "{own}", "--out", "{out}"], "evaluation only"),
    (["show", "own", "{own}", "--split", "x", "--out", "{out}"], "x"),
  ],
)
def test_bad_input_is_one_line(own, tmp_path, capsys, arguments, message):
  out = tmp_path / "sheet.png"
  arguments = [a.format(own=own, out=out) for a in arguments]
  assert main.main(["data", *arguments]) == 2
  error = capsys.readouterr().err.strip()
  assert error.startswith("sgmg: error: ") and message in error
  assert "\n" not in error
  assert not out.exists()
  assert [path.name for path in own.parent.iterdir()] == ["own"]


def test_show_draws_every_clip(own, tmp_path, capsys):
  out = tmp_path / "sheet.png"
  arguments = ["data", "show", "own", str(own), "--clips", "3", "--seed", "1"]
  assert main.main([*arguments, "--out", str(out)]) == 0
  assert f"look at {out}" in capsys.readouterr().out
  first = np.asarray(PIL.Image.open(out))
  # It is not replaced unless asked for, and the same seed draws the same.
  assert main.main([*arguments, "--out", str(out)]) == 2
  assert main.main([*arguments, "--out", str(out), "--overwrite"]) == 0
  np.testing.assert_array_equal(first, PIL.Image.open(out))


def test_clips_show_mask_and_box_where_they_are():
  masks = np.zeros((1, 1, 85, 100), bool)
  masks[..., 20:40, 50:90] = True
  example = {
    "frames": np.zeros((2, 85, 100, 3), np.uint8),
    "masks": masks,
    "boxes": np.array([[[50, 20, 89, 39]]], np.float32),
    "valid": np.array([[True]]),
    "annotated": np.array([1], np.int32),
    "expressions": ["the box"],
  }
  plain = {**example, "annotated": np.array([], np.int32)}
  drawn, empty = (
    np.asarray(clip_sheet.draw_clip(e, "the box", "v/0", ["0", "5"]))
    for e in (example, plain)
  )
  # Frames are drawn twice as large, below two lines of text and above their
  # labels, of which the second differs as well.
  changed = (drawn != empty).any(-1)
  frames = slice(drawn.shape[0] - 170 - 27, drawn.shape[0] - 27)
  assert not changed[: frames.start].any()
  rows, columns = changed[frames].nonzero()
  second = 6 + 200 + 6
  for found, start, stop in ((rows, 40, 80), (columns - second, 100, 180)):
    assert abs(found.min() - start) <= 2 and abs(found.max() - stop) <= 2


def test_sheets_put_small_clips_side_by_side():
  small = PIL.Image.new("RGB", (700, 50))
  sheet = clip_sheet.sheet([small] * 3, "three")
  one = clip_sheet.sheet([small], "one")
  assert (sheet.width, sheet.height) == (1400, one.height + 50)
