"""Distortions against scripted draws of the official transform."""

import itertools
import json
import pathlib

import numpy as np
import pytest

from sgmg_jax.input_pipeline.ops import photometric

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "eval"
ARRAYS = np.load(GOLDEN / "transform_cases.npz")
CASES = json.loads((GOLDEN / "transform_cases.json").read_text())
PERMUTATIONS = list(itertools.permutations(range(3)))
Distortion = photometric.Distortion


def _scripted(case):
  """The coins are brightness, order A, then contrast and saturation in the
  order's order, then the permutation."""
  coins, values = iter(case["randint_draws"]), iter(case["uniform_draws"])
  settings = {}
  if next(coins):
    settings["brightness"] = next(values)
  parts = ["contrast", "saturation"]
  for part in parts if next(coins) else parts[::-1]:
    if next(coins):
      settings[part] = next(values)
  if case["swap_draw"] < 0.2:
    settings["channels"] = PERMUTATIONS[next(coins)]
  return Distortion(**settings)


@pytest.mark.parametrize("case", CASES["photometric"], ids=lambda c: c["key"])
def test_scripted_draws(case):
  got = photometric.distort(ARRAYS["photo_in"], _scripted(case), wrap=True)
  error = got.astype(int) - ARRAYS[case["key"]]
  error = np.abs((error + 128) % 256 - 128)
  assert error.max() <= 1
  assert (error > 0).mean() < 0.25


def _reference(frame, d):
  """In float64, pixel by pixel."""
  x = np.clip(frame + d.brightness, 0, 255)
  strongest = x.max(-1, keepdims=True)
  x = d.contrast * (strongest - d.saturation * (strongest - x))
  return x[..., list(d.channels)]


@pytest.mark.parametrize("brightness", (0.0, -17.3, 30.9))
@pytest.mark.parametrize("contrast", (1.0, 0.83, 1.2))
@pytest.mark.parametrize("saturation", (1.0, 0.81, 1.19))
def test_formula(brightness, contrast, saturation):
  frame = np.random.default_rng(0).integers(0, 256, (67, 301, 3), np.uint8)
  d = Distortion(brightness, contrast, saturation, (2, 0, 1))
  exact = _reference(frame, d)
  got = photometric.distort(frame, d)
  error = np.abs(got - np.trunc(np.clip(exact, 0, 255)))
  assert error.max() <= 1
  # Float32 tables: a value next to a whole number may fall below it.
  clear = np.abs(exact - np.round(exact)) > 1e-4
  assert not error[clear].any() and (error > 0).mean() < 0.05
  wrapped = photometric.distort(frame, d, wrap=True)
  outside = (exact < -0.999) | (exact >= 256)
  expected = np.trunc(exact[outside]).astype(int) % 256
  error = np.abs((wrapped[outside] - expected + 128) % 256 - 128)
  assert error.max(initial=0) <= 1
  np.testing.assert_array_equal(wrapped[~outside], got[~outside])
  if contrast == 1.2:
    assert outside.any()


def test_nothing_happens_by_default():
  frame = ARRAYS["photo_in"]
  np.testing.assert_array_equal(photometric.distort(frame, Distortion()), frame)


def test_views_are_taken():
  frame = ARRAYS["photo_in"]
  for d in (Distortion(9.0), Distortion(saturation=1.1)):
    got = photometric.distort(frame[:, ::-1], d)
    expected = photometric.distort(frame, d)[:, ::-1]
    np.testing.assert_array_equal(got, expected)


def test_frames_are_distorted_independently():
  frames = np.stack([ARRAYS["photo_in"]] * 6)
  got = photometric.RandomPhotometric()({"frames": frames}, (1,))["frames"]
  assert len(np.unique(got.reshape(6, -1), axis=0)) > 3


def test_odds():
  random = np.random.default_rng(0)
  draws = [photometric.draw(random) for _ in range(2000)]
  for name, neutral in (("brightness", 0), ("contrast", 1), ("saturation", 1)):
    share = np.mean([getattr(d, name) != neutral for d in draws])
    assert abs(share - 0.5) < 0.05, name
  share = np.mean([d.channels != (0, 1, 2) for d in draws])
  assert abs(share - 1 / 6) < 0.03
  assert {d.channels for d in draws} == set(PERMUTATIONS)
  assert max(abs(d.brightness) for d in draws) <= 32
  assert all(0.8 <= d.contrast <= 1.2 for d in draws)
  assert all(0.8 <= d.saturation <= 1.2 for d in draws)
