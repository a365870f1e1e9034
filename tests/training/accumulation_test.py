"""Shares of devices and parts of a batch, with a loss that takes no time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax import precision
from sgmg_jax.losses import means
from sgmg_jax.training import sharding

CLIPS, EXPRESSIONS = 8, 2


def _objective(params, batch, rngs):
  """Of rows that count unevenly; one of the matrices is frozen."""
  del rngs
  hidden = jnp.tanh(batch["clips"] @ params["frozen"] @ params["trained"])
  rows = jnp.repeat(hidden, EXPRESSIONS, 0) @ params["last"]
  errors = jnp.square(rows - batch["rows"]).sum(-1)
  mean = means.of(
    jnp.where(batch["valid"], errors, 0.0).sum(), batch["valid"].sum()
  )
  return 2.0 * mean + 3.0 * mean, {"mean": mean}


@pytest.fixture(scope="module")
def params():
  draw = np.random.default_rng(0).standard_normal
  return {
    "frozen": jnp.asarray(draw((64, 64), np.float32)) / 8,
    "trained": jnp.asarray(draw((64, 128), np.float32)) / 8,
    "last": jnp.asarray(draw((128, 3), np.float32)) / 8,
  }


@pytest.fixture(scope="module")
def batch():
  random = np.random.default_rng(1)
  rows = CLIPS * EXPRESSIONS
  return {
    "clips": jnp.asarray(random.standard_normal((CLIPS, 64), np.float32)),
    "rows": jnp.asarray(random.standard_normal((rows, 3), np.float32)),
    "valid": jnp.asarray(random.random(rows) < 0.6),
  }


@pytest.fixture(scope="module")
def step(one_step):
  def run(params, batch, rules=(), accumulation=1, **sizes):
    return one_step(
      _objective,
      optax.sgd(0.1),
      params,
      batch,
      sharding.make_mesh(CLIPS, accumulation=accumulation, **sizes),
      rules,
      trainable=dict(frozen=False, trained=True, last=True),
      policy=precision.check("highest"),
      accumulation=accumulation,
    )

  return run


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_what_is_not_finite_changes_nothing(
  step, params, batch, value, accumulation
):
  batch = batch | {"rows": batch["rows"].at[3].set(value)}
  batch["valid"] = batch["valid"].at[3].set(True)
  state, metrics = step(params, batch, (), accumulation)
  assert metrics["skipped"] == 1 and int(state.step) == 1
  for tree in (state.params, state.ema):
    jax.tree.map(np.testing.assert_array_equal, tree, params)


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("rules", [(), ((".*", "fsdp"),)], ids=str)
@pytest.mark.parametrize("data, fsdp", [(1, 1), (2, 1), (1, 2)])
def test_parts_and_shares_make_the_step_of_the_whole(
  step, params, batch, data, fsdp, rules, accumulation
):
  expected, whole = step(params, batch, data=1)
  actual, measured = step(
    params, batch, rules, accumulation, data=data, fsdp=fsdp
  )
  for name, value in whole.items():
    np.testing.assert_allclose(measured[name], value, rtol=1e-5, err_msg=name)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected)):
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
  assert whole["skipped"] == 0
  np.testing.assert_array_equal(actual.params["frozen"], params["frozen"])
  assert np.abs(actual.params["last"] - params["last"]).max() > 1e-3
