"""Flips of sentences and boxes, as official and as it should be."""

import json
import pathlib

import numpy as np
import pytest

from sgmg_jax.input_pipeline.ops import boxes, captions, flip

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "eval"
CASES = json.loads((GOLDEN / "transform_cases.json").read_text())


@pytest.mark.parametrize("text, expected", CASES["caption_flip_video"])
def test_official_swap(text, expected):
  assert captions.swap_substrings(text) == expected


def test_official_swap_of_images():
  text, expected = CASES["image_hflip_caption"]
  assert captions.swap_substrings(text, "[TMP]") == expected
  assert captions.swap_substrings("left @", "[TMP]") == "right @"


SWAPS = [
  ("left", "right"),
  ("the leftmost dog", "the rightmost dog"),
  ("bright red car on right", "bright red car on left"),
  ("upright man left of the right tree", "upright man right of the left tree"),
  ("a copyright sign", "a copyright sign"),
  ("Left Hand", "Right Hand"),
  ("LEFT, right.", "RIGHT, left."),
  ("moving leftwards", "moving rightwards"),
  ("the top-left one, bottomright", "the top-right one, bottomleft"),
  ("left-handed player", "right-handed player"),
  ("to the left, then to the right", "to the right, then to the left"),
  ("eating leftovers a@b", "eating leftovers a@b"),
  ("no side", "no side"),
]


@pytest.mark.parametrize("text, expected", SWAPS)
def test_swap_of_words(text, expected):
  assert captions.swap_sides(text) == expected
  assert captions.swap_sides(expected) == text


def test_normalised_caption():
  text = "  A Dog\ton the\n LEFT "
  assert captions.normalise(text) == "a dog on the left"
  op = captions.NormaliseCaption()
  example = {"expressions": [text, "B"]}
  assert op(example, ())["expressions"] == ["a dog on the left", "b"]
  assert example["expressions"] == [text, "B"]


def _example():
  random = np.random.default_rng(0)
  masks = np.zeros((2, 3, 20, 30), bool)
  masks[0, 0, 3:9, 5:12] = True
  masks[0, 1, 10:20, 22:30] = True
  masks[1, 2, 1:3, 7:9] = True
  example = {
    "frames": random.integers(0, 256, (3, 20, 30, 3), np.uint8),
    "masks": masks,
    "expressions": ["bright left one", "one on the right"],
    "size": (20, 30),
  }
  return boxes.BoxesFromMasks()(example, ())


def test_flipped_boxes_are_those_of_the_flipped_masks():
  example = _example()
  got = flip.RandomFlip(probability=1)(example, (0,))
  np.testing.assert_array_equal(got["frames"], example["frames"][:, :, ::-1])
  np.testing.assert_array_equal(got["masks"], example["masks"][..., ::-1])
  np.testing.assert_array_equal(got["boxes"], boxes.from_masks(got["masks"]))
  assert got["expressions"] == ["bright right one", "one on the left"]
  twice = flip.RandomFlip(probability=1)(got, (0,))
  for key, value in example.items():
    np.testing.assert_array_equal(twice[key], value)


def test_official_boxes_are_one_off():
  example = _example()
  op = flip.RandomFlip(probability=1, continuous_boxes=True)
  fixed = flip.RandomFlip(probability=1)(example, (0,))
  got = op(example, (0,))
  np.testing.assert_array_equal(
    got["boxes"][0, :2], fixed["boxes"][0, :2] + [1, 0, 1, 0]
  )
  np.testing.assert_array_equal(got["boxes"][0, 2], [30, 0, 30, 0])
  np.testing.assert_array_equal(fixed["boxes"][0, 2], [0, 0, 0, 0])


def test_continuous_boxes_need_no_offset():
  example = {**_example(), "boxes": None}
  example = boxes.BoxesFromMasks(continuous=True)(example, ())
  op = flip.RandomFlip(probability=1, continuous_boxes=True)
  got = op(example, (0,))
  again = boxes.BoxesFromMasks(continuous=True)({**got, "boxes": None}, ())
  np.testing.assert_array_equal(got["boxes"][0, :2], again["boxes"][0, :2])


def test_a_box_clipped_at_the_edge_stays_inside():
  clipped = np.array([[10, 0, 30, 5]], np.float32)
  mirrored = flip.flip_boxes(clipped, np.array([True]), 30)
  np.testing.assert_array_equal(mirrored, [[0, 0, 19, 5]])


def test_half_of_the_clips_flip():
  example, op = _example(), flip.RandomFlip()
  texts = [op(example, (i,))["expressions"][0] for i in range(200)]
  assert 70 < texts.count("bright right one") < 130
  assert set(texts) == {"bright right one", "bright left one"}


def test_official_sentence():
  op = flip.RandomFlip(probability=1, substring_caption=True)
  assert op(_example(), (0,))["expressions"][0] == "bleft right one"
