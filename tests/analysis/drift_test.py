"""Feature drift: its numbers on known shifts, and the command."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.analysis import drift, figures
from sgmg_jax.cli import main

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 12)).astype(np.float32)
NOISE = RANDOM.normal(size=(400, 12)).astype(np.float32)
SHIFT = np.eye(12, dtype=np.float32)[3] * 4


def test_probe_tells_shifted_features_and_no_others():
  assert drift.probe_accuracy(X, X + SHIFT) > 0.95
  assert 0.4 < drift.probe_accuracy(X, NOISE) < 0.6
  # Of rows that it was not fitted to: few of them, with many channels.
  few, others = RANDOM.normal(size=(2, 60, 50))
  assert 0.3 < drift.probe_accuracy(few, others) < 0.7
  # The shift is all there is, and standardising takes it away.
  apart = drift.standardise(X), drift.standardise(X + SHIFT)
  assert drift.probe_accuracy(*apart) < 0.6


def test_alignment_sees_through_rotation_and_scale():
  rotation = np.linalg.qr(RANDOM.normal(size=(12, 12)))[0]
  assert drift.linear_cka(X, 3 * X @ rotation + 5) == pytest.approx(1)
  assert drift.linear_cka(X, NOISE) < 0.1
  half = np.concatenate([X[:, :6], NOISE[:, 6:]], 1)
  assert 0.4 < drift.linear_cka(X, half) < 0.6


def test_distance_of_centroids_over_spread():
  assert drift.centroid_distance(X, X) == 0
  # Every channel has a variance of about one.
  expected = 4 / np.sqrt(12)
  assert drift.centroid_distance(X, X + SHIFT) == pytest.approx(expected, 0.05)


def _pairs(**others):
  values = dict(before=X, after=X + SHIFT, untrained=NOISE)
  values |= dict(j_before=0.1, j_after=0.7)
  return drift.Pairs(**values | others)


def test_controls_beside_the_numbers():
  found = drift.numbers(_pairs())
  assert found["decoder"]["probe"] > 0.95
  assert found["decoder"]["j_after"] == 0.7
  assert found["decoder"]["cka"] == pytest.approx(1)
  assert 0.4 < found["halves"]["probe"] < 0.6
  assert found["halves"]["cka"] is None
  assert found["standardised"]["probe"] < 0.6
  assert found["untrained"]["cka"] < 0.1
  assert drift.numbers(_pairs()) == found
  unknown = drift.numbers(_pairs(j_before=np.nan, j_after=np.nan))
  assert unknown["decoder"]["j_after"] is None
  means = drift.means([found, unknown])
  assert means["decoder"]["j_after"] == 0.7
  assert means["halves"]["cka"] is None


def test_added_up_at_the_finest_size():
  levels = [jnp.full((1, 2, n, n, 3), 1.0 * n) for n in (4, 2, 1)]
  total = drift.added_up(levels)
  assert total.shape == (1, 2, 4, 4, 3)
  np.testing.assert_allclose(total, 7.0, rtol=1e-6)


def test_tsne_is_the_same_each_time():
  pytest.importorskip("sklearn")
  few = _pairs(before=X[:40], after=(X + SHIFT)[:40])
  points = drift.embed(few)
  assert points.shape == (80, 2)
  np.testing.assert_array_equal(drift.embed(few), points)


def test_scatter_shows_both():
  points = np.concatenate([np.zeros((50, 2)), np.ones((50, 2))])
  panel = figures.scatter(points, "clip", ["a sentence"], side=120)
  pixels = np.asarray(panel, int)
  for colour in (figures.RED, figures.BLUE):
    assert np.abs(pixels - colour).sum(-1).min() < 40
  whole = figures.drift([panel] * 4, "four")
  assert whole.width > 3 * 120 and whole.height > 2 * panel.height


def _analyse(checkpoint, out, *flags):
  return main.main(
    ["analyse", "drift", f"--checkpoint={checkpoint}", f"--out={out}", *flags]
  )


@pytest.mark.slow
def test_command_writes_numbers_and_features(
  small_checkpoint, tmp_path, capsys
):
  """The model and the untrained decoder compile for ten seconds."""
  path = small_checkpoint(tmp_path / "mu", patch=1, decoder="fpn")
  flags = "--clips=1", "--frames=1", "--pairs=50", "--no-picture"
  assert _analyse(path, tmp_path / "a", *flags) == 0
  out = capsys.readouterr().out
  for word in ("decoder", "untrained", "halves", "J of F_vl^d"):
    assert word in out
  content = json.loads((tmp_path / "a/drift.json").read_text())
  assert content["videos"][0]["name"] == "test_000000"
  assert 0 <= content["means"]["decoder"]["j_before"] <= 1
  with np.load(tmp_path / "a/drift.npz") as arrays:
    assert arrays["before_0"].shape == arrays["after_0"].shape == (50, 64)
    assert np.abs(arrays["before_0"] - arrays["after_0"]).max() > 0


def test_no_decoder_no_drift(mu_checkpoint, tmp_path, capsys):
  assert _analyse(mu_checkpoint, tmp_path, "--no-picture") == 2
  assert "no decoder between kernels and features" in capsys.readouterr().err
  flags = "--no-picture", "--pairs=3000"
  assert _analyse(mu_checkpoint, tmp_path, *flags) == 2
  assert "--pairs 3000: expected <= 2000" in capsys.readouterr().err


def test_a_sentence_for_each_video(mu_checkpoint, tmp_path, capsys):
  flags = "--no-picture", "--videos", "a.mp4", "b.mp4", "--sentences", "one"
  assert _analyse(mu_checkpoint, tmp_path, *flags) == 2
  assert "one for each of 2 videos, got 1" in capsys.readouterr().err
