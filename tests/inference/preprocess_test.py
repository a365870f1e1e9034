"""Resize rule, pixels and padding against the official pipeline's numbers."""

import json
import pathlib

import jax
import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints import card as card_lib
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
  assert preprocess.plan_geometry(200, 1000, 360, 640).size == (144, 720)
  # 132 pads to 144: large enough without upsizing.
  assert preprocess.plan_geometry(132, 200, 132, None).size == (132, 200)


def test_videos_have_no_longest_side():
  """480x1152, a wide video of the benchmarks, as the released code has it."""
  rules = card_lib.PREPROCESS
  wide = preprocess.plan_geometry(480, 1152, **rules["video"])
  assert wide.size == (360, 864) and wide.padded == (368, 864)
  for task in ("annotated_frames", "images"):
    assert preprocess.plan_geometry(480, 1152, **rules[task]).size == (267, 640)


@pytest.mark.parametrize(
  "original, sides, size, padded",
  [
    ((100, 1920), (360, None), (94, 1800), (144, 1808)),
    ((2000, 20), (360, None), (1800, 18), (1808, 144)),
    ((1, 300), (360, 640), (2, 720), (144, 720)),
    ((60000, 1), (160, 320), (720, 1), (720, 144)),
    # On both sides of the limit, 5: nearly the same.
    ((100, 500), (360, None), (360, 1800), (368, 1808)),
    ((100, 501), (360, None), (359, 1800), (368, 1808)),
    ((100, 500), (160, 320), (144, 720), (144, 720)),
    ((100, 501), (160, 320), (144, 720), (144, 720)),
  ],
)
def test_strips_are_padded_instead_of_upsized(original, sides, size, padded):
  got = preprocess.plan_geometry(*original, *sides)
  assert (got.size, got.padded) == (size, padded)


def test_input_is_bounded():
  with pytest.raises(errors.UserError, match="3840x2160 would be 3840x2160"):
    preprocess.plan_geometry(2160, 3840, 2160, None)
  assert preprocess.plan_geometry(1080, 1920, 1080, None).size == (1080, 1920)


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
