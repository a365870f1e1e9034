"""Masks at the original size against the official procedure's numbers."""

import pathlib

import jax
import numpy as np
import pytest

from sgmg_jax.inference import postprocess, preprocess

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "eval"


@pytest.fixture(scope="module")
def case():
  golden = np.load(GOLDEN / "postprocess_cases.npz")
  return {
    "logits": golden["ytvos_mask_logits"][:, int(golden["ytvos_query"])],
    "geometry": preprocess.Geometry(
      original=tuple(golden["ytvos_orig_hw"].tolist()),
      size=tuple(golden["ytvos_valid_hw"].tolist()),
      padded=golden["ytvos_mask_logits"].shape[-2:],
    ),
    "upsampled": golden["ytvos_upsampled_logits"],
    "masks": golden["ytvos_masks"],
  }


def test_upsampled_logits(case):
  geometry = case["geometry"]
  got = jax.jit(postprocess.upsample_logits, static_argnums=(1, 2))(
    case["logits"], geometry.size, geometry.original
  )
  np.testing.assert_allclose(got, case["upsampled"], atol=2e-5)


def test_masks_are_exact(case):
  got = postprocess.threshold_masks(case["logits"], case["geometry"], 0.5)
  np.testing.assert_array_equal(got, case["masks"])


def test_threshold_is_a_probability(case):
  got = postprocess.threshold_masks(case["logits"], case["geometry"], 0.8)
  want = 1 / (1 + np.exp(-case["upsampled"])) > 0.8
  assert np.mean(np.asarray(got) != want) < 1e-4


def test_shrinking_does_not_antialias():
  logits = np.zeros((1, 16, 16), np.float32)
  logits[0, :, 1] = 1.0
  got = postprocess.upsample_logits(logits, (16, 16), (4, 4))
  # Cell centres 1.5, 5.5, ...: each is the mean of two neighbours.
  np.testing.assert_allclose(got[0, 0], [0.5, 0, 0, 0])


def test_boxes_in_pixels():
  geometry = preprocess.Geometry((720, 1280), (360, 640), (368, 640))
  # The box that covers the unpadded part exactly, and one that leaves it.
  boxes = np.array([[0.5, 180 / 368, 1.0, 360 / 368], [0.9, 0.9, 0.4, 0.4]])
  got = postprocess.boxes_in_pixels(boxes.astype(np.float32), geometry)
  np.testing.assert_allclose(got[0], [0, 0, 1280, 720], atol=1e-3)
  np.testing.assert_allclose(
    got[1], [0.7 * 1280, 0.7 * 368 * 2, 1280, 720], rtol=1e-5
  )
