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


def test_boxes_are_relative_to_the_unpadded_clip():
  # The whole clip, a part of it, and a box that leaves it.
  boxes = [[0.5, 0.5, 1, 1], [0.25, 0.5, 0.25, 0.5], [0.9, 0.9, 0.4, 0.4]]
  got = postprocess.boxes_in_pixels(np.array(boxes, np.float32), (360, 640))
  want = [[0, 0, 640, 360], [80, 90, 240, 270], [448, 252, 640, 360]]
  np.testing.assert_allclose(got, want, rtol=1e-5)
