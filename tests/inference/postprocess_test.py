"""Masks at the original size against the official procedure's numbers."""

import os
import pathlib

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
  got = postprocess.upsample_logits(
    case["logits"], geometry.size, geometry.original
  )
  np.testing.assert_allclose(got, case["upsampled"], atol=2e-5)


def test_masks_are_exact(case):
  got, finite = postprocess.threshold_masks(
    case["logits"], case["geometry"], 0.5
  )
  assert finite
  np.testing.assert_array_equal(got, case["masks"])


def test_threshold_is_a_probability(case):
  got, _ = postprocess.threshold_masks(case["logits"], case["geometry"], 0.8)
  want = 1 / (1 + np.exp(-case["upsampled"])) > 0.8
  assert np.mean(np.asarray(got) != want) < 1e-4


def test_shrinking_does_not_antialias():
  logits = np.zeros((1, 16, 16), np.float32)
  logits[0, :, 1] = 1.0
  got = postprocess.upsample_logits(logits, (16, 16), (4, 4))
  # Cell centres 1.5, 5.5, ...: each is the mean of two neighbours.
  np.testing.assert_allclose(got[0, 0], [0.5, 0, 0, 0])


def test_only_what_is_not_padding_must_be_finite(case):
  logits = case["logits"].copy()
  height, width = case["geometry"].size
  assert (height, width) != logits.shape[-2:]
  logits[:, height:], logits[:, :, width:] = np.nan, np.inf
  masks, finite = postprocess.threshold_masks(logits, case["geometry"], 0.5)
  assert finite
  np.testing.assert_array_equal(masks, case["masks"])
  for bad in (np.nan, np.inf, -np.inf):
    logits[-1, height - 1, width - 1] = bad
    assert not postprocess.threshold_masks(logits, case["geometry"], 0.5)[1]


@pytest.mark.skipif(
  not os.path.exists("/proc/self/statm"), reason="needs Linux"
)
def test_memory_does_not_grow_with_sizes_and_thresholds():
  """200 calls once left 400 MB of compiled programs behind."""

  def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

  logits = np.random.RandomState(0).randn(2, 48, 64).astype(np.float32)

  def call(index):
    size = (100 + index % 50, 120 + index)
    geometry = preprocess.Geometry(size, (45, 60), (48, 64))
    threshold = 0.2 + index / 400
    return postprocess.threshold_masks(logits, geometry, threshold)[0]

  call(0)
  before = resident_bytes()
  for index in range(200):
    assert call(index).shape == (2, 100 + index % 50, 120 + index)
  assert resident_bytes() - before < 50 * 2**20


def test_boxes_are_relative_to_the_unpadded_clip():
  # The whole clip, a part of it, and a box that leaves it.
  boxes = [[0.5, 0.5, 1, 1], [0.25, 0.5, 0.25, 0.5], [0.9, 0.9, 0.4, 0.4]]
  got = postprocess.boxes_in_pixels(np.array(boxes, np.float32), (360, 640))
  want = [[0, 0, 640, 360], [80, 90, 240, 270], [448, 252, 640, 360]]
  np.testing.assert_allclose(got, want, rtol=1e-5)
