"""Resize rule, pixels and padding against the official pipeline's numbers."""

import json
import pathlib

import jax
import numpy as np
import pytest

from sgmg_jax.inference import preprocess

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "eval"


def _rows(name):
  cases = json.loads((GOLDEN / "transform_cases.json").read_text())[name]
  return [dict(zip(cases["columns"], row)) for row in cases["rows"]]


def test_resize_rule_is_exact():
  for row in _rows("resize_rule"):
    got = preprocess.target_size(row["h"], row["w"], row["short"], row["max"])
    assert got == (row["out_h"], row["out_w"]), row
  for row in _rows("inference_resize_rule_short360"):
    got = preprocess.target_size(row["h"], row["w"], 360, None)
    assert got == (row["out_h"], row["out_w"]), row


@pytest.mark.parametrize("case", ["down", "up", "cap"])
def test_resized_pixels_are_exact(case):
  golden = np.load(GOLDEN / "transform_cases.npz")
  size = tuple(int(side) for side in golden[f"resize_{case}_size"])
  frame = golden["resize_in_image0"]
  geometry = preprocess.Geometry(frame.shape[:2], size, size)
  for image, name in ((frame, "image0"), (frame[:, ::-1], "image1")):
    got = preprocess.resize_frame(np.ascontiguousarray(image), geometry)
    np.testing.assert_array_equal(got, golden[f"resize_{case}_{name}"])


def test_padding_and_small_frames():
  geometry = preprocess.plan_geometry(720, 1280, 360, 640)
  assert geometry == preprocess.Geometry((720, 1280), (360, 640), (368, 640))
  # Tiny or very long frames reach the model's smallest side.
  assert preprocess.plan_geometry(8, 8, 16, None).padded == (144, 144)
  assert preprocess.plan_geometry(100, 2000, 360, 640).size == (144, 2880)
  # 132 pads to 144: large enough without upsizing.
  assert preprocess.plan_geometry(132, 200, 132, None).size == (132, 200)


def test_time_buckets():
  got = [preprocess.time_bucket(n) for n in (1, 2, 3, 5, 7, 8, 9, 16, 17, 36)]
  assert got == [1, 2, 4, 6, 8, 8, 16, 16, 24, 40]


def test_normalised_clip_is_zero_in_the_padding():
  rng = np.random.RandomState(0)
  frames = [rng.randint(0, 256, (20, 30, 3), np.uint8) for _ in range(3)]
  geometry = preprocess.Geometry((20, 30), (20, 30), (32, 32))
  clip = preprocess.pad_clip(frames, geometry)
  assert clip.shape == (1, 4, 32, 32, 3) and clip.dtype == np.uint8
  size = np.array([[20, 30]], np.int32)
  pixels, valid = jax.jit(preprocess.normalise)(clip, size)
  want = np.stack(frames) / 255.0
  want = (want - preprocess.MEAN) / preprocess.STD
  np.testing.assert_allclose(pixels[0, :3, :20, :30], want, atol=1e-6)
  assert valid.shape == (1, 32, 32)
  np.testing.assert_array_equal(valid[0, :20, :30], True)
  assert valid.sum() == 600
  assert not np.any(np.asarray(pixels)[:, :, ~np.asarray(valid[0])])
