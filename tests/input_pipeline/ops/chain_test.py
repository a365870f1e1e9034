"""Boxes, masks and sentences through both official orders of transforms."""

import json
import pathlib

import numpy as np

from sgmg_jax.input_pipeline import batch
from sgmg_jax.input_pipeline.ops import boxes, flip, resize, resize_crop

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "eval"
ARRAYS = np.load(GOLDEN / "transform_cases.npz")
CASES = json.loads((GOLDEN / "transform_cases.json").read_text())
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OFFICIAL = flip.RandomFlip(substring_caption=True, continuous_boxes=True)


def _start():
  first = CASES["chain_ytvos_order"][0]
  height, width = first["size"]
  masks = np.zeros((4, height, width), bool)
  for mask, (x1, y1, x2, y2) in zip(masks[:3], np.int32(first["boxes"])):
    mask[y1 : y2 + 1, x1 : x2 + 1] = True
  example = {
    "frames": np.stack([ARRAYS["resize_in_image0"]] * 4),
    "masks": masks[None],
    "annotated": np.arange(4, dtype=np.int32),
    "expressions": [first["caption"]],
    "size": (height, width),
  }
  return boxes.BoxesFromMasks()(example, ())


def _assert_step(example, expected):
  np.testing.assert_allclose(example["boxes"][0], expected["boxes"], atol=1e-4)
  np.testing.assert_array_equal(example["valid"][0], expected["valid"])
  assert list(example["size"]) == expected["size"]
  assert example["expressions"] == [expected["caption"]]
  (masks,) = example["masks"]
  assert list(masks.sum((1, 2))) == expected["mask_sums"]
  assert list(masks.shape) == expected["mask_shape"]


def _assert_normalised(example, expected):
  relative = batch.normalise_boxes(example["boxes"], *example["size"])
  np.testing.assert_allclose(relative[0], expected["boxes"], atol=1e-6)


def _crop(example, *window):
  return resize_crop.crop(example, example["size"], resize.Window(*window))


def test_videos():
  start, cropped, checked, flipped, normalised = CASES["chain_ytvos_order"]
  example = _start()
  _assert_step(example, start)
  example = _crop(example, 5, 6, 30, 40)
  _assert_step(example, cropped)
  expected = ARRAYS["chain_masks_after_crop"]
  np.testing.assert_array_equal(example["masks"][0], expected)
  example = boxes.CheckBoxes()(example, ())
  _assert_step(example, checked)
  example = OFFICIAL.flip(example)
  _assert_step(example, flipped)
  expected = ARRAYS["chain_masks_after_flip"]
  np.testing.assert_array_equal(example["masks"][0], expected)
  _assert_normalised(example, normalised)
  pixels = (example["frames"][0] / 255 - MEAN) / STD
  expected = ARRAYS["chain_image_after_normalize"]
  np.testing.assert_allclose(pixels.transpose(2, 0, 1), expected, atol=1e-5)


def test_actors():
  flipped, resized, cropped, checked, normalised = CASES["chain_a2d_order"]
  example = OFFICIAL.flip(_start())
  _assert_step(example, flipped)
  example = resize.Resize(90)(example, ())
  _assert_step(example, resized)
  example = _crop(example, 10, 12, 60, 80)
  _assert_step(example, cropped)
  example = boxes.CheckBoxes()(example, ())
  _assert_step(example, checked)
  _assert_normalised(example, normalised)


def test_a_crop_drops_the_instance():
  example = _crop(_start(), 0, 50, 30, 10)
  example = boxes.CheckBoxes()(example, ())
  assert not example["valid"].any()
  assert not example["boxes"].any()
