"""Warps of images, and the clips they make."""

import numpy as np
import pytest

from sgmg_jax.input_pipeline.ops import boxes, motion_blur, pseudo_video, warp


def _image(height=60, width=90):
  y, x = np.mgrid[:height, :width]
  frame = np.stack([x * 2, y * 3, 255 - x - y], -1).astype(np.uint8)
  mask = np.zeros((height, width), bool)
  mask[20:40, 30:60] = True
  return frame, mask


def test_no_warp():
  frame, mask = _image()
  got_frame, got_mask = warp.apply(frame, mask, warp.Warp())
  np.testing.assert_array_equal(got_frame, frame)
  np.testing.assert_array_equal(got_mask, mask)


def test_shift_fills_with_zeros():
  frame, mask = _image()
  got_frame, got_mask = warp.apply(frame, mask, warp.Warp(shift=0.1))
  np.testing.assert_array_equal(got_frame[6:, 9:], frame[:-6, :-9])
  np.testing.assert_array_equal(got_mask[6:, 9:], mask[:-6, :-9])
  for part in (got_frame[:6], got_frame[:, :9], got_mask[:6]):
    assert not part.any()


def test_rotation_is_clockwise_about_the_centre():
  frame, mask = _image(61, 61)
  got_frame, got_mask = warp.apply(frame, mask, warp.Warp(rotation=90))
  np.testing.assert_array_equal(got_mask, np.rot90(mask, -1))
  error = np.abs(got_frame.astype(int) - np.rot90(frame, -1))
  assert error.max() <= 1


def test_perspective_enlarges_the_inside():
  frame, mask = _image()
  inwards = ((0.1, 0.2),) * 4
  got, _ = warp.apply(frame, mask, warp.Warp(inwards=inwards))
  # A smaller rectangle: a plain crop and resize.
  assert abs(int(got[0, 0, 0]) - 2 * 9) <= 2
  assert abs(int(got[0, 0, 1]) - 3 * 12) <= 3
  assert abs(int(got[-1, -1, 0]) - 2 * 80) <= 2
  assert abs(int(got[-1, -1, 1]) - 3 * 47) <= 3
  assert got.min(-1).any()


def test_only_named_corners_move():
  frame, mask = _image()
  inwards = ((0.2, 0.2), (0, 0), (0, 0), (0, 0))
  got, _ = warp.apply(frame, mask, warp.Warp(inwards=inwards))
  assert abs(int(got[0, 0, 0]) - 2 * 18) <= 3
  for y, x in ((0, -1), (-1, -1), (-1, 0)):
    assert np.abs(got[y, x].astype(int) - frame[y, x]).max() <= 6


def test_colours_change_but_not_the_mask():
  frame, mask = _image()
  brighter, got_mask = warp.apply(frame, mask, warp.Warp(brightness=40))
  expected = np.minimum(frame.astype(int) + 40, 255)
  np.testing.assert_array_equal(brighter, expected)
  np.testing.assert_array_equal(got_mask, mask)
  red = np.full((8, 8, 3), (200, 100, 100), np.uint8)
  stronger, _ = warp.apply(red, np.zeros((8, 8), bool), warp.Warp(saturation=5))
  # Officially 133 of 255 saturated and turned by 6 degrees.
  assert stronger[0, 0, 0] == 200
  assert abs(int(stronger[0, 0, 2]) - 96) <= 2
  assert 4 <= int(stronger[0, 0, 1]) - stronger[0, 0, 2] <= 16


def test_even_blur_along_the_vertical():
  weights = motion_blur.kernel(motion_blur.Blur(9, 0, 0))
  expected = np.zeros((9, 9))
  expected[:, 4] = 1 / 9
  np.testing.assert_allclose(weights, expected, atol=1e-6)


@pytest.mark.parametrize("angle", (0, 37, 90, 200))
@pytest.mark.parametrize("direction", (-1, 0.3))
def test_blur_keeps_the_mean(angle, direction):
  blur = motion_blur.Blur(11, angle, direction)
  assert abs(motion_blur.kernel(blur).sum() - 1) < 1e-5
  flat = np.full((30, 40, 3), 200, np.uint8)
  np.testing.assert_array_equal(motion_blur.apply(flat, blur), flat)
  point = np.zeros((31, 31, 3), np.uint8)
  point[15, 15] = 255
  spread = motion_blur.apply(point, blur)
  assert 3 <= np.count_nonzero(spread[..., 0]) <= 40
  assert abs(int(spread[..., 0].sum()) - 255) <= 20


def _example(height=60, width=90):
  frame, mask = _image(height, width)
  return {
    "frames": frame[None],
    "masks": np.stack([mask, mask[::-1]])[:, None],
    "annotated": np.zeros(1, np.int32),
    "boxes": np.array(2 * [[[1, 2, 3, 4]]], np.float32),
    "expressions": ["the box", "the other"],
    "size": (height, width),
  }


def test_the_image_is_among_its_warps():
  example = _example()
  places = []
  for i in range(20):
    got = pseudo_video.PseudoVideo(4)(example, (i,))
    assert got["frames"].shape == (4, 60, 90, 3)
    assert got["masks"].shape == (2, 4, 60, 90)
    assert list(got["annotated"]) == [0, 1, 2, 3]
    same = [np.array_equal(f, example["frames"][0]) for f in got["frames"]]
    assert sum(same) == 1
    places.append(same.index(True))
    np.testing.assert_array_equal(
      got["masks"][:, places[-1]], example["masks"][:, 0]
    )
    got = boxes.BoxesFromMasks()(got, ())
    np.testing.assert_array_equal(got["boxes"], boxes.from_masks(got["masks"]))
  assert set(places) == {0, 1, 2, 3}


def test_masks_move_with_the_frames():
  # The object is white on black: after any warp both agree.
  example = _example()
  example["frames"] = np.repeat(example["masks"][0, ..., None] * 255, 3, -1)
  example["frames"] = example["frames"].astype(np.uint8)
  for i in range(10):
    drawn = warp.draw(np.random.default_rng(i))
    plain = warp.Warp(
      inwards=drawn.inwards, rotation=drawn.rotation, shift=drawn.shift
    )
    frame, (mask, _) = warp.apply(
      example["frames"][0], example["masks"][:, 0], plain
    )
    different = (frame[..., 0] > 127) != mask
    assert different.sum() <= 0.05 * mask.sum() + 5


@pytest.mark.parametrize(
  "size, kept", [((60, 90), True), ((20, 64), True), ((65, 20), False)]
)
def test_slim_images_are_dropped(size, kept):
  example = {**_example(), "size": size, "valid": np.ones((2, 1), bool)}
  got = pseudo_video.DropSlim()(example, (0,))
  assert got["valid"].any() == kept
  assert got["boxes"].any() == kept


def test_boxes_of_empty_masks():
  example = {
    "masks": np.zeros((2, 5, 5), bool),
    "boxes": np.ones((2, 4), np.float32),
  }
  example["masks"][1, 2, 2] = True
  got = boxes.ZeroEmptyBoxes()(example, ())["boxes"]
  np.testing.assert_array_equal(got, [[0] * 4, [1] * 4])
