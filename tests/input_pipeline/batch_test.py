"""Padding and stacking of examples."""

import json
import pathlib

import numpy as np
import pytest

from sgmg_jax.input_pipeline import batch

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "eval"


def test_pads_as_the_official_collate():
  cases = json.loads((GOLDEN / "transform_cases.json").read_text())
  case = cases["collate"]
  clips = [np.ones((t, h, w, c), np.uint8) for t, c, h, w in case["inputs"]]
  bucket = batch.padded_size(
    max(clip.shape[1] for clip in clips), max(clip.shape[2] for clip in clips)
  )
  padded = np.stack([batch.pad(clip, bucket, 1) for clip in clips])
  assert list(np.moveaxis(padded, -1, 2).shape) == case["tensor_shape"]
  counts = padded[:, 0, :, :, 0].sum((1, 2), dtype=int)
  assert counts.tolist() == case["valid_counts"]


def test_padded_size_is_the_next_multiple_of_32():
  assert batch.padded_size(32, 33) == (32, 64)


def test_zeros_below_and_to_the_right():
  array = np.ones((2, 3, 5, 1), np.uint8)
  padded = batch.pad(array, (4, 8), 1)
  assert padded.shape == (2, 4, 8, 1) and padded.dtype == np.uint8
  np.testing.assert_array_equal(padded[:, :3, :5], array)
  assert padded.sum() == array.sum()
  assert batch.pad(array, (3, 5), 1) is array
  with pytest.raises(ValueError, match="larger than"):
    batch.pad(array, (2, 8), 1)


def test_an_example_becomes_a_row():
  example = {
    "frames": np.full((2, 20, 30, 3), 7, np.uint8),
    "masks": np.ones((1, 1, 20, 30), bool),
    "boxes": np.array([[[3, 4, 9, 14]]], np.float32),
    "valid": np.array([[1]], np.int32),
    "expression_valid": np.array([True]),
    "annotated": np.array([1]),
    "expressions": ["a dog"],
    "size": (20, 30),
  }
  row = batch.pad_example(example, (32, 32), 2)
  assert row["frames"].shape == (2, 32, 32, 3)
  assert row["masks"].shape == (2, 1, 32, 32) and row["masks"].sum() == 600
  assert row["valid"].dtype == bool and row["annotated"].dtype == np.int32
  np.testing.assert_array_equal(row["size"], [20, 30])
  # Over the frame without padding: centre, then extent.
  np.testing.assert_allclose(
    row["boxes"][0], [[6 / 30, 9 / 20, 6 / 30, 10 / 20]], rtol=1e-6
  )
  # The second expression only fills.
  assert row["expressions"] == ["a dog", batch.FILLING]
  assert row["expression_valid"].tolist() == [True, False]
  assert row["valid"].tolist() == [[True], [False]]
  assert not row["masks"][1].any() and not row["boxes"][1].any()
  empty = batch.empty_example((32, 32), 2, 1, 2)
  assert {k: np.shape(v) for k, v in empty.items()} == {
    k: np.shape(v) for k, v in row.items()
  }
  assert not empty["valid"].any() and not empty["expression_valid"].any()
