"""Sizes, pixels, masks and boxes against the official transforms."""

import json
import pathlib

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.input_pipeline.ops import boxes, resize, resize_crop

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "eval"
ARRAYS = np.load(GOLDEN / "transform_cases.npz")
SIZES = resize_crop.RandomResizeCrop((288, 320, 352, 392), 640)


def _rows(name):
  cases = json.loads((GOLDEN / "transform_cases.json").read_text())[name]
  return [dict(zip(cases["columns"], row)) for row in cases["rows"]]


def _photo(height, width, seed=0, num_frames=2):
  """Smooth shapes with some noise; a rectangle is the object."""
  y, x = np.mgrid[:height, :width] / 40
  waves = [np.sin(x * a + y * b) for a, b in ((1, 2), (2.3, -1), (0.4, 3))]
  noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
  frame = np.clip(128 + 90 * np.stack(waves, -1) + noise, 0, 255)
  frames = np.stack([frame, frame[::-1]] * num_frames)[:num_frames]
  masks = np.zeros((num_frames, height, width), bool)
  masks[:, height // 4 : height // 2, width // 3 : width // 2] = True
  example = {
    "frames": frames.astype(np.uint8),
    "masks": masks[None],
    "annotated": np.arange(num_frames, dtype=np.int32),
    "expressions": ["the left one"],
    "size": (height, width),
  }
  return boxes.BoxesFromMasks()(example, ())


def test_resize_rule():
  rows = _rows("resize_rule")
  assert len(rows) == 169
  for row in rows:
    size = resize.target_size((row["h"], row["w"]), row["short"], row["max"])
    assert size == (row["out_h"], row["out_w"]), row


def test_inference_resize_rule():
  for row in _rows("inference_resize_rule_short360"):
    size = resize.Resize(360).output_size((row["h"], row["w"]), ())
    assert size == (row["out_h"], row["out_w"]), row


@pytest.mark.parametrize(
  "case, short, longest",
  [("down", 20, None), ("up", 70, None), ("cap", 60, 64)],
)
def test_resize(case, short, longest):
  image = ARRAYS["resize_in_image0"]
  example = {
    "frames": np.stack([image, image[:, ::-1]]),
    "masks": ARRAYS["resize_in_masks"],
    "boxes": np.array([[3, 4, 50, 40], [0, 0, 0, 0]], np.float32),
    "size": image.shape[:2],
  }
  got = resize.Resize(short, longest)(example, ())
  for t in range(2):
    expected = ARRAYS[f"resize_{case}_image{t}"]
    np.testing.assert_array_equal(got["frames"][t], expected)
  np.testing.assert_array_equal(got["masks"], ARRAYS[f"resize_{case}_masks"])
  expected = ARRAYS[f"resize_{case}_boxes"]
  np.testing.assert_allclose(got["boxes"], expected, rtol=1e-6)
  assert got["size"] == tuple(ARRAYS[f"resize_{case}_size"])


@pytest.mark.parametrize("seed", range(40))
def test_a_window_is_the_crop_of_the_whole(seed):
  random = np.random.default_rng(seed)
  example = _photo(*(int(n) for n in random.integers(40, 200, 2)))
  scaled = resize.target_size(example["size"], int(random.integers(40, 200)))
  whole_frames = resize.resize_frames(example["frames"], scaled)
  whole_masks = resize.resize_masks(example["masks"], scaled)
  for _ in range(5):
    window = resize_crop.draw_window(scaled, 7, 100, random)
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    np.testing.assert_array_equal(
      resize.resize_frames(example["frames"], scaled, window),
      whole_frames[:, rows, columns],
    )
    np.testing.assert_array_equal(
      resize.resize_masks(example["masks"], scaled, window),
      whole_masks[..., rows, columns],
    )


def test_boxes_follow_the_masks():
  example = _photo(60, 80)
  got = resize.Resize(120)(example, ())
  assert got["size"] == (120, 160)
  again = boxes.from_masks(got["masks"])
  # The last column at twice the size is one further than twice the last.
  np.testing.assert_array_equal(got["boxes"] + [0, 0, 1, 1], again)


def test_the_op_is_its_steps():
  example = _photo(150, 210)
  for i in range(12):
    plan = SIZES._plan(example["size"], (i,))
    got = SIZES(example, (i,))
    step = example
    if plan.window:
      step = resize.resize(example, plan.before_crop)
      step = resize_crop.crop(step, plan.before_crop, plan.window)
    step = resize.resize(step, plan.final)
    step = boxes.CheckBoxes()(step, ())
    for key in ("frames", "masks", "boxes", "valid", "size"):
      np.testing.assert_array_equal(got[key], step[key])


def test_both_ways_are_taken():
  plans = [SIZES._plan((720, 1280), (i,)) for i in range(300)]
  cropped = [plan for plan in plans if plan.window]
  assert 110 < len(cropped) < 190
  assert {min(plan.before_crop) for plan in cropped} == {400, 500, 600}
  sides = [side for plan in cropped for side in plan.window.size]
  assert min(sides) >= 384 and max(sides) <= 600
  assert {plan.final for plan in plans if not plan.window} == {
    (288, 512),
    (320, 568),
    (352, 625),
    (360, 640),
  }
  assert all(max(plan.final) <= 640 for plan in plans)


def test_shorts_after_a_crop():
  op = resize_crop.RandomResizeCrop((480,), 800, recrop_shorts=(296,))
  shorts = {min(op.output_size((500, 500), (i,))) for i in range(50)}
  assert shorts == {480, 296}


@pytest.mark.parametrize("size", [(60, 96), (40, 64), (90, 144)])
@pytest.mark.parametrize("window", [None, resize.Window(3, 5, 20, 30)])
def test_images_give_what_arrays_give(size, window):
  frames = np.random.RandomState(0).randint(0, 256, (2, 60, 96, 3), np.uint8)
  images = [PIL.Image.fromarray(frame) for frame in frames]
  np.testing.assert_array_equal(
    resize.resize_frames(images, size, window),
    resize.resize_frames(frames, size, window),
  )
