"""Every shape of batch is compiled once."""

import logging

import jax
import jax.numpy as jnp
import pytest

from sgmg_jax.training import compiled_step


@pytest.fixture
def traced():
  return []


@pytest.fixture
def step(traced):
  @jax.jit
  def add(state, batch):
    traced.append(batch["x"].shape)
    return state + batch["x"].sum(), {"count": batch["x"].size}

  return compiled_step.CompiledStep(add, num_shapes=2)


def test_shapes_are_compiled_when_they_come(step, traced, caplog):
  caplog.set_level(logging.INFO, "sgmg_jax.training")
  state = jnp.float32(0)
  for shape in [(2, 3), (4, 1), (2, 3)]:
    state, metrics = step(state, {"x": jnp.ones(shape)})
    assert metrics["count"] == shape[0] * shape[1]
  assert state == 6 + 4 + 6
  assert traced == [(2, 3), (4, 1)]
  text = caplog.text
  assert "compiling the step for batches of 2x3 ..." in text
  assert "compiled the step (1 of at most 2) in" in text
  assert "compiled the step (2 of at most 2) in" in text


def test_preparing_runs_nothing(step, traced):
  step.prepare(jnp.float32(0), {"x": jnp.ones(3)})
  assert traced == [(3,)]
  step(jnp.float32(0), {"x": jnp.ones(3)})
  assert traced == [(3,)]
