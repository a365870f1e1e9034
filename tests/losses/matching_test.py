"""Matching against golden costs, and assignment against scipy."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from sgmg_jax import types
from sgmg_jax.losses import matching

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
# Golden name of each term.
NAMES = {
  "class": "class",
  "l1": "bbox",
  "giou": "giou",
  "mask": "mask",
  "dice": "dice",
}


@pytest.fixture(scope="module")
def golden():
  return np.load(GOLDEN / "matcher.npz")


@pytest.fixture(scope="module")
def preds(golden):
  return types.LayerPredictions(
    logits=jnp.array(golden["pred_logits"][..., 0]),
    boxes=jnp.array(golden["pred_boxes"]),
    masks_low=jnp.array(golden["pred_masks"]),
  )


@pytest.fixture(scope="module")
def targets(golden):
  masks = np.zeros((3, 4, 64, 96), bool)
  for i in range(3):
    mask = golden[f"target{i}/masks"]
    masks[i, :, : mask.shape[1], : mask.shape[2]] = mask
  return types.Targets(
    boxes=jnp.stack([golden[f"target{i}/boxes"] for i in range(3)]),
    masks=jnp.array(masks),
    valid=jnp.stack([golden[f"target{i}/valid"] for i in range(3)]) > 0,
  )


def test_terms_are_the_released_ones(golden, preds, targets):
  values = jax.jit(matching.cost_terms)(preds, targets)
  assert values.keys() == matching.WEIGHTS.keys()
  for name, value in values.items():
    expected = golden[f"term/{NAMES[name]}"]
    np.testing.assert_allclose(
      value, expected, rtol=0, atol=1e-4 * expected.std(), err_msg=name
    )


def test_cost_and_choice_are_the_released_ones(golden, preds, targets):
  query, cost = jax.jit(matching.match)(preds, targets)
  expected = golden["cost"]
  np.testing.assert_allclose(cost, expected, rtol=0, atol=1e-4 * expected.std())
  np.testing.assert_array_equal(query, golden["matched_query"])


def test_class_cost_of_sure_queries():
  """Also compiled, where 1 - p + eps must not become (1 + eps) - p."""
  logits = np.concatenate([np.linspace(-40, 40, 81), [-200, -17.3, 17.3, 200]])
  p, rest = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))
  positive = -0.25 * rest**2 * np.log(p + 1e-8)
  negative = -0.75 * p**2 * np.log(rest + 1e-8)
  actual = jax.jit(matching.class_cost)(
    jnp.asarray(logits, jnp.float32)[None, None], jnp.ones((1, 1), bool)
  )[0]
  np.testing.assert_allclose(actual, positive - negative, rtol=2e-6)
  assert actual[80] == pytest.approx(-13.8155, abs=1e-4)


def test_of_two_sure_queries_the_better_box_is_matched(preds, targets):
  """Sureness stops counting: logits of 16 and 20 differ by 3.4 in cost, a box
  that is half a frame off by more than 5."""
  alike = jax.tree.map(lambda x: jnp.repeat(x[:, :, :1], 5, 2), preds)
  logits = jnp.array([-3.0, 16.0, 20.0, -3.0, -3.0])
  boxes = jnp.repeat(targets.boxes[:, :, None], 5, 2)
  alike = alike.replace(
    logits=jnp.broadcast_to(logits, alike.logits.shape),
    boxes=boxes.at[:, :, 2, :2].add(0.5),
  )
  query, cost = jax.jit(matching.match)(alike, targets)
  assert np.isfinite(cost).all()
  assert query.tolist() == [1, 1, 1]


def test_clip_without_the_object_still_matches(preds, targets):
  absent = types.Targets(
    boxes=jnp.zeros_like(targets.boxes),
    masks=jnp.zeros_like(targets.masks),
    valid=jnp.zeros_like(targets.valid),
  )
  query, cost = matching.match(preds, absent)
  assert np.isfinite(cost).all()
  assert ((query >= 0) & (query < 5)).all()


def test_matching_has_no_gradient(preds, targets):
  def summed(p):
    return matching.match(p, targets)[1].sum()

  grads = jax.grad(summed)(preds)
  assert all((np.asarray(g) == 0).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (5, 5), (4, 9)])
def test_assignment_is_scipys_optimum(shape):
  cost = np.random.RandomState(0).randn(20, *shape).astype(np.float32)
  actual = np.asarray(jax.jit(matching.assign)(jnp.array(cost)))
  for i in range(len(cost)):
    rows, columns = optimize.linear_sum_assignment(cost[i])
    assert len(set(actual[i])) == shape[0]
    np.testing.assert_array_equal(actual[i][rows], columns)


def test_assignment_ignores_rows_that_pad():
  random = np.random.RandomState(1)
  cost = random.randn(20, 4, 5).astype(np.float32)
  valid = np.array([True, False, True, False])
  actual = np.asarray(
    matching.assign(jnp.array(cost), jnp.tile(valid, (20, 1)))
  )
  for i in range(20):
    _, columns = optimize.linear_sum_assignment(cost[i][valid])
    np.testing.assert_array_equal(actual[i][valid], columns)
    assert len(set(actual[i])) == 4


def test_assignment_ends_on_nan():
  cost = jnp.full((1, 3, 5), jnp.nan)
  assert len(set(np.asarray(matching.assign(cost))[0])) == 3


def test_assignment_refuses_more_objects_than_queries():
  with pytest.raises(ValueError, match="more objects"):
    matching.assign(jnp.zeros((1, 6, 5)))
