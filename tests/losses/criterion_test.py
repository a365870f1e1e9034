"""The losses against the released model's, from stored outputs."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.losses import criterion, matching, means

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
  return np.load(GOLDEN / "sgmg_train.npz")


@pytest.fixture(scope="module")
def targets(golden):
  masks = np.zeros((2, 3, 160, 160), bool)
  for i in range(2):
    mask = golden[f"target{i}/masks"]
    masks[i, :, : mask.shape[1], : mask.shape[2]] = mask
  return types.Targets(
    boxes=jnp.stack([golden[f"target{i}/boxes"] for i in range(2)]),
    masks=jnp.array(masks),
    valid=jnp.stack([golden[f"target{i}/valid"] for i in range(2)]) > 0,
  )


def test_last_layer_losses_are_the_released_ones(golden, targets):
  # The file keeps only the matched query's stride-2 mask; the losses read no
  # other, so NaN in its place shows if they do.
  query = golden["matched_query"]
  low = np.full((2, 3, 5, 80, 80), np.nan, np.float32)
  for i in range(2):
    low[i, :, query[i]] = golden["out/pred_masks_low"][i]
  preds = types.LayerPredictions(
    logits=jnp.array(golden["out/pred_logits"][..., 0]),
    boxes=jnp.array(golden["out/pred_boxes"]),
    masks_low=jnp.array(low),
  )
  losses = means.values(
    jax.jit(criterion.layer_losses)(
      preds, jnp.array(golden["out/pred_masks"]), jnp.array(query), targets
    )
  )
  assert losses.keys() == criterion.WEIGHTS.keys()
  for name, value in losses.items():
    np.testing.assert_allclose(
      value, golden[f"loss/{name}"], rtol=1e-5, err_msg=name
    )


@pytest.mark.slow
def test_rows_that_only_fill_up_change_nothing(golden, targets):
  preds = types.LayerPredictions(
    logits=jnp.array(golden["out/pred_logits"][..., 0]),
    boxes=jnp.array(golden["out/pred_boxes"]),
    masks_low=jnp.zeros((2, 3, 5, 80, 80)),
  )
  rows = preds, jnp.array(golden["out/pred_masks"]), jnp.array([1, 2])

  def losses(rows, targets, *row_valid):
    return means.values(criterion.layer_losses(*rows, targets, *row_valid))

  alone = losses(*jax.tree.map(lambda x: x[:1], (rows, targets)))
  targets = targets.replace(valid=targets.valid.at[1].set(False))
  row_valid = jnp.array([True, False])
  grads = jax.grad(
    lambda p: sum(losses((p, *rows[1:]), targets, row_valid).values())
  )(preds)
  for name, value in losses(rows, targets, row_valid).items():
    np.testing.assert_allclose(value, alone[name], rtol=1e-6, err_msg=name)
  for grad in jax.tree.leaves(grads):
    assert grad[0].any() and not grad[1].any()


def test_names_weights_and_total_are_the_released_ones(golden):
  losses = criterion.name_layers(
    {
      name: np.stack([golden[f"loss/{name}{s}"] for s in ("_0", "_1", "")])
      for name in criterion.WEIGHTS
    }
  )
  expected = {k[5:] for k in golden.files if k.startswith("loss/")}
  assert losses.keys() == expected
  for name in expected:
    assert criterion.weight(name) == golden[f"weight/{name}"]
    assert losses[name] == golden[f"loss/{name}"]
  np.testing.assert_allclose(
    criterion.total(losses), golden["total"], rtol=1e-6
  )


def test_take_query_picks_per_clip():
  values = jnp.arange(2 * 3 * 5).reshape(2, 3, 5)
  actual = types.take_query(values, jnp.array([1, 4]))
  np.testing.assert_array_equal(actual, [[1, 6, 11], [19, 24, 29]])


def test_clips_without_a_target_teach_to_find_nothing():
  rng = np.random.default_rng(0)
  preds = types.LayerPredictions(
    logits=jnp.array(rng.normal(size=(1, 2, 5)), jnp.float32),
    boxes=jnp.array(rng.random((1, 2, 5, 4)), jnp.float32),
    masks_low=jnp.array(rng.normal(size=(1, 2, 5, 8, 8)), jnp.float32),
  )
  masks = jnp.array(rng.normal(size=(1, 2, 16, 16)), jnp.float32)
  nothing = types.Targets(
    boxes=jnp.zeros((1, 2, 4)),
    masks=jnp.zeros((1, 2, 16, 16), bool),
    valid=jnp.zeros((1, 2), bool),
  )

  def loss(preds, masks):
    query, _ = matching.match(preds, nothing)
    losses = criterion.layer_losses(preds, masks, query, nothing)
    return criterion.total(losses).value

  value, (preds_grad, masks_grad) = jax.jit(
    jax.value_and_grad(loss, argnums=(0, 1))
  )(preds, masks)
  assert np.isfinite(value)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(preds_grad))
  # Every query becomes less sure, and every pixel less of the object.
  assert (np.array(preds_grad.logits) > 0).all()
  assert (np.array(masks_grad) > 0).all()
