"""Losses of the roles of cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels
from sgmg_jax.losses import means
from sgmg_jax.pretraining import cell_heads, role_heads

SIDES = (8, 4, 2)


@pytest.fixture(scope="module")
def labels():
  random = np.random.default_rng(0)
  return [
    random.integers(-1, 2, (4, 1, s, s, 3)).astype(np.int8) for s in SIDES
  ]


@pytest.fixture(scope="module")
def shown():
  random = np.random.default_rng(1)
  return [random.random((4, 1, s, s)) < 0.5 for s in SIDES]


def _scores(labels, right=20.0):
  """What heads would say that know the labels."""
  logits = [right * np.where(x == 1, 1.0, -1.0) for x in labels]
  return {"fused": [x[..., 1:] for x in logits], "memory": logits}


def measure(*args):
  return means.values(role_heads.measure(*args))


def test_heads_that_know_the_labels(labels, shown):
  measured = measure(_scores(labels), labels, shown)
  assert float(role_heads.total_loss(measured)) < 1e-6
  assert all(
    float(measured[f"accuracy_referent_{s}"]) == 1 for s in cell_heads.STRIDES
  )
  assert "loss_fused_referent_8" not in measured
  ones = {name: 1.0 for name in measured}
  # Strides, then the candidate and landmark of both kinds and the referent.
  assert role_heads.total_loss(ones) == pytest.approx(2.5 * (2 * (1 + 2) + 1))
  wrong = measure(_scores(labels, -20.0), labels, shown)
  for name, value in wrong.items():
    if name.startswith("loss"):
      assert float(value) == pytest.approx(20 * 1.15, rel=1e-3), name


def test_what_is_not_known_counts_for_nothing(labels, shown):
  scores = _scores(labels)
  known = [x >= 0 for x in labels]
  for kind, first in (("fused", 1), ("memory", 0)):
    scores[kind] = [
      np.where(k[..., first:], x, 7.0) for k, x in zip(known, scores[kind])
    ]
  assert float(role_heads.total_loss(measure(scores, labels, shown))) < 1e-6


def test_shares_of_devices_sum_to_the_whole(labels, shown):
  scores = jax.tree.map(lambda x: x + 19.0, _scores(labels))
  whole = measure(scores, labels, shown)
  halves = jax.tree.map(
    lambda x: jnp.asarray(x).reshape(2, 2, *x.shape[1:]),
    (scores, labels, shown),
  )
  shares = jax.vmap(role_heads.measure)(*halves)
  added = means.values(jax.tree.map(lambda x: x.sum(0), shares))
  for name, value in whole.items():
    np.testing.assert_allclose(added[name], value, rtol=1e-5)


def test_cells_shown_in_annotated_frames_once_for_every_expression():
  random = np.random.default_rng(2)
  classes = tuple(random.integers(0, 2, (2, 5, s, s, 4)) for s in SIDES)
  batch = types.Batch(
    frames=np.zeros((2, 5, 1, 1, 3)),
    pixel_valid=None,
    size=None,
    tokens=np.zeros((6, 4)),
    token_valid=None,
    targets=None,
    annotated=np.array([[1, 4], [0, 2]]),
    labels={"cells": cell_labels.CellLabels(classes, ())},
  )
  for x, actual in zip(classes, role_heads.shown_cells(batch), strict=True):
    expected = [x[0, [1, 4], ..., 0] > 0] * 3 + [x[1, [0, 2], ..., 0] > 0] * 3
    np.testing.assert_array_equal(actual, np.stack(expected))
  whole = role_heads.shown_cells(batch.replace(annotated=None))
  np.testing.assert_array_equal(whole[0][3], classes[0][1, ..., 0] > 0)
