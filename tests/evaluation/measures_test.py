"""J and F against the official code's numbers."""

import json
import math
import pathlib

import numpy as np
import pytest

from sgmg_jax.evaluation import bit_masks, measures

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/eval"
CASES = json.loads((GOLDEN / "jf_cases.json").read_text())


@pytest.fixture(scope="module")
def arrays():
  return np.load(GOLDEN / "jf_cases.npz")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_every_official_case(case, arrays):
  key = case["key"]
  pred, truth = arrays[f"{key}_pred"], arrays[f"{key}_gt"]
  pred, truth = pred.astype(bool), truth.astype(bool)
  if case["has_void"]:
    # Pixels that do not count.
    void = arrays[f"{key}_void"].astype(bool)
    pred, truth = pred & ~void, truth & ~void
  j = measures.region_similarity(pred, truth)
  f = measures.boundary_measure(pred, truth)
  counts = measures.count_frames(pred, truth)
  assert (counts.region, counts.boundary) == (j, f)
  actual = [j, f, counts.precision, counts.recall]
  expected = [case[k] for k in ("J", "F", "precision", "recall")]
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)
  assert measures.boundary_radius(*case["shape"]) == case["radius"]
  for name, mask in (("pred", pred), ("gt", truth)):
    edge = _edges(mask)
    assert edge.sum() == case[f"n_{name}_boundary"]
    if f"{key}_{name}_boundary" in arrays.files:
      np.testing.assert_array_equal(edge, arrays[f"{key}_{name}_boundary"])


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 40])
def test_dilation_is_a_disk(radius):
  random = np.random.RandomState(radius)
  maps = [random.rand(23, 31) > 0.99 for _ in range(2)]
  maps[0][0, 0] = True
  # Bands of three rows, or as many as the radius.
  packed = bit_masks.pack(maps, radius)
  height, columns = packed.shape[1], -(-(31 + radius) // 8) * 8
  wide = np.zeros((2, height, columns), np.uint8)
  wide[..., :31] = packed
  grown = bit_masks.dilate(wide, radius)[..., :31]
  bands = np.unpackbits(grown[..., None], axis=-1, bitorder="little")
  actual = np.moveaxis(bands, -1, 1).reshape(2, 8 * height, 31)[:, :23]
  y, x = np.mgrid[:23, :31]
  for i in range(2):
    expected = np.zeros((23, 31), bool)
    for v, u in zip(*np.nonzero(maps[i])):
      expected |= (y - v) ** 2 + (x - u) ** 2 <= radius**2
    np.testing.assert_array_equal(actual[i], expected)


def test_stacked_frames_equal_single_frames():
  random = np.random.RandomState(0)
  pred, truth = random.rand(2, 3, 4, 20, 25) > 0.6
  for measure in (measures.region_similarity, measures.boundary_measure):
    stacked = measure(pred, truth)
    assert stacked.shape == (3, 4)
    assert stacked[1, 2] == measure(pred[1, 2], truth[1, 2])


@pytest.mark.parametrize(
  "size", [(1, 9), (9, 1), (8, 8), (9, 65), (17, 12), (64, 7), (65, 20)]
)
def test_pairs_against_the_definition(size):
  """Frames whose bands end anywhere; masks at every edge, small and empty."""
  random = np.random.RandomState(sum(size))
  pred, truth = random.rand(3, *size) > 0.7, random.rand(2, *size) > 0.7
  pred[1], truth[1] = False, False
  truth[1, size[0] // 2, size[1] // 2] = True
  counts = measures.count_pairs(pred, truth)
  radius = measures.boundary_radius(*size)
  for i in range(3):
    for j in range(2):
      p, t = (set(zip(*np.nonzero(_edges(m)))) for m in (pred[i], truth[j]))
      assert counts.precision[i, j] == pytest.approx(_share(p, t, radius))
      assert counts.recall[i, j] == pytest.approx(_share(t, p, radius))
      j_alone = measures.region_similarity(pred[i], truth[j])
      assert counts.region[i, j] == j_alone


def test_neither_mask_shows_anything():
  counts = measures.count_pairs(*np.zeros((2, 3, 20, 25), bool))
  for value in (counts.region, counts.boundary):
    np.testing.assert_array_equal(value, np.ones((3, 3)))


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (2, 0)])
def test_no_masks_are_no_pairs(shape):
  pred, truth = (np.ones((n, 20, 25), bool) for n in shape)
  assert measures.count_pairs(pred, truth).boundary.shape == shape


def _edges(mask):
  """Pixels unlike their right, lower or lower-right neighbour."""
  # Outside the frame is what is inside beside it.
  edge = np.pad(mask, ((0, 1), (0, 1)), "edge")
  here, right, lower = edge[:-1, :-1], edge[:-1, 1:], edge[1:, :-1]
  return (here != right) | (here != lower) | (here != edge[1:, 1:])


def _share(points, others, radius):
  if not points:
    return 1
  near = lambda a: any(math.dist(a, b) <= radius for b in others)
  return sum(map(near, points)) / len(points)


def test_known_radii():
  assert measures.boundary_radius(480, 854) == 8
  assert measures.boundary_radius(720, 1280) == 12
  assert math.isclose(measures.TOLERANCE, 0.008)
