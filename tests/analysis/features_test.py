"""Maps around the spectrum: their numbers, pictures, and the command."""

import json

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.analysis import examples, features, figures
from sgmg_jax.cli import main
from sgmg_jax.inference import preprocess


def test_maps_have_the_size_of_the_frames():
  x = np.zeros((2, 3, 4, 5), np.float32)
  x[:, :, 2:, :2] = 3.0
  geometry = preprocess.Geometry((48, 44), (24, 22), (24, 32))
  norms = features.norm_map(x, geometry)
  assert norms.shape == (2, 48, 44)
  assert norms[0, 0, 0] == 0
  # Two channels of three, where the right half of the padded map begins.
  np.testing.assert_allclose(norms[:, :, 42:], np.sqrt(18), rtol=0.3)


def test_scaled_by_percentiles():
  x = np.arange(10_000.0).reshape(1, 100, 100)
  x[0, 0, 0] = -1e9
  y = features.scaled(x)
  assert y.min() == 0 and y.max() == 1
  assert y[0, 50, 0] == pytest.approx(0.5, abs=0.01)
  assert not features.scaled(np.ones((1, 4, 4))).any()


def test_power_by_frequency():
  columns = np.arange(32)
  wave = lambda cycles: np.cos(2 * np.pi * cycles * columns / 32)
  maps = np.broadcast_to(5 + wave(2)[None, None, :, None], (1, 32, 32, 1))
  low = features.radial_power(maps)
  # Two of 32 cycles a position; the last ring is around half a cycle.
  assert low.argmax() == 1 and low[1] == pytest.approx(1)
  highest = features.radial_power(maps * 0 + wave(16)[:, None])
  assert highest.argmax() == len(highest) - 1 == 15
  # Noise has power in every ring of a small map, too.
  noise = np.random.default_rng(0).normal(size=(4, 5, 6, 8))
  assert (features.radial_power(noise) > 0.1).all()


def test_localisation():
  masks = np.zeros((3, 20, 20), bool)
  masks[:2, 5:10, 5:10] = True  # absent from the last frame
  exact = features.localisation(masks.astype(float), masks)
  assert exact == pytest.approx(
    dict(pointing=1, energy=1, area=25 / 400, iou=1)
  )
  flat = features.localisation(np.ones_like(masks, float), masks)
  assert flat["energy"] == pytest.approx(flat["area"])
  assert flat["iou"] == pytest.approx(25 / 400)
  wrong = features.localisation(1.0 - masks, masks)
  assert wrong["pointing"] == 0 and wrong["energy"] == 0
  assert np.isnan(
    features.localisation(np.ones((1, 4, 4)), masks[2:, :4, :4])["iou"]
  )


def test_shown_frames():
  assert features.shown_frames(1) == [0]
  assert features.shown_frames(6) == [0, 2, 5]


def test_pictures():
  heat = figures.heat(np.linspace(0, 1, 50))
  brightness = heat.sum(-1)
  assert heat.dtype == np.uint8 and brightness[0] < 70 < 600 < brightness[-1]
  frame = np.full((30, 40, 3), 128, np.uint8)
  mask = np.zeros((30, 40), bool)
  assert (figures.with_mask(frame, mask) == frame).all()
  mask[10:20, 10:20] = True
  assert (figures.with_mask(frame, mask) != frame).any()
  row = {"answer": frame, "after": frame}
  picture = figures.sheet([row, row, row], "a sentence", side=60)
  assert picture.height > 180 and picture.width > 160
  powers = {f"pre {i}": np.full((2, 16), 1 / 16) for i in range(4)}
  strengths = {name: np.array([0.2, 0.9]) for name in powers}
  parts = [figures.strengths(strengths, "x"), figures.powers(powers, "y")]
  stacked = figures.stack([picture, *parts])
  assert stacked.height > sum(part.height for part in parts)


@pytest.mark.slow
def test_command_writes_numbers_and_pictures(
  small_checkpoint, tmp_path, capsys
):
  """A whole model compiles for ten seconds."""
  path = small_checkpoint(tmp_path / "mu", num_queries=1)
  out = tmp_path / "features"
  flags = f"--checkpoint={path}", f"--out={out}", "--clips=1", "--frames=1"
  assert main.main(["analyse", "features", *flags]) == 0
  (content,) = json.loads((out / "features.json").read_text()).values()
  assert content["spectral"] == "fft"
  after, behind = (
    content["localisation"][name] for name in features.STAGES[1:]
  )
  assert after != behind
  filters = content["strengths"]
  assert set(filters) == {f"{w} {i}" for w in ("pre", "post") for i in range(4)}
  assert 0 < filters["pre 0"]["least"] <= filters["pre 0"]["greatest"] < 1
  assert "after fusion" in capsys.readouterr().out
  for name in ("features.png", "filter_A.png"):
    assert PIL.Image.open(out / name).width > 300


def test_summary_without_a_spectrum_or_truth():
  frames = np.zeros((2, 8, 8, 3), np.uint8)
  example = examples.Example("a", frames, "a sentence")
  norms = dict.fromkeys(features.STAGES, np.ones((2, 8, 8)))
  flat = np.full((2, 4), 0.25)
  one = features.Maps(norms, np.zeros((2, 8, 8), bool), {}, {"pre 0": flat})
  found = features.summarise([example], [one])
  assert found["localisation"] == found["strengths"] == {}
  assert found["high_frequencies"]["pre 0"] == dict(before=0.5, behind=0.5)


def test_examples_of_refshapes():
  (one,) = examples.of_refshapes(1, num_frames=2, side=48)
  assert one.frames.shape == (2, 48, 48, 3)
  assert one.masks.shape == (2, 48, 48) and one.masks.any()
