"""What is said and kept of steps that are not finite, and when a run ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from sgmg_jax.training import skipped_steps


class Inner(nn.Module):
  @nn.compact
  def __call__(self, x):
    return jnp.log(nn.Dense(1, use_bias=False, name="linear")(x))


class Outer(nn.Module):
  def setup(self):
    self.first, self.second = Inner(), Inner()

  def __call__(self, x):
    return self.second(jnp.exp(self.first(x)))

  def encode(self, x):
    return self.first(x)


def _params(first, second):
  kernel = lambda value: {"linear": {"kernel": jnp.full((1, 1), value)}}
  return {"first": kernel(first), "second": kernel(second)}


def _objective(params, batch, rngs):
  del rngs
  return Outer().apply({"params": params}, batch["x"]), {}


@pytest.mark.parametrize(
  "params, expected",
  [
    (_params(1.0, 1.0), None),
    (_params(-1.0, 1.0), "first"),
    (_params(1.0, -1.0), "second"),
    (_params(jnp.inf, 1.0), "first/linear"),
  ],
)
def test_first_module_in_the_order_of_computation(params, expected):
  compute = lambda: _objective(params, {"x": jnp.ones((1, 1))}, {})
  assert skipped_steps.first_module(compute) == expected


def test_methods_are_named():
  params = {"params": _params(-1.0, 1.0)}
  compute = lambda: Outer().apply(params, jnp.ones((1, 1)), method="encode")
  assert skipped_steps.first_module(compute) == "first"


def _steps(folder, skipped, limit=10, params=None, x=1.0):
  guard = skipped_steps.Guard(folder, limit, _objective, seed=0)
  params = params or _params(-1.0, 1.0)
  for step, value in enumerate(skipped, 1):
    batch = {"x": jnp.full((1, 1), x)}
    guard.add(step, batch, {"skipped": jnp.float32(value)}, params)
  guard.look(params)


def test_a_skipped_step_is_explained_and_its_batch_kept(tmp_path, caplog):
  _steps(tmp_path, [0, 1, 1, 0])
  first, second = [r.message for r in caplog.records]
  path = tmp_path / "not_finite/step_00000002.npz"
  assert first == (
    "step 2: the loss or its gradient is not finite; the first module whose "
    f"output is not is first; the batch is in {path}; skipped"
  )
  assert second == "step 3: the loss or its gradient is not finite; skipped"
  assert np.load(path)["x"] == 1.0
  assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
  "x, params, message",
  [
    (np.nan, None, "the batch holds such values in x"),
    (1.0, _params(1.0, 1.0), "all modules' outputs are, so it is the gradient"),
  ],
)
def test_other_reasons(x, params, message, tmp_path, caplog):
  _steps(tmp_path, [1], x=x, params=params)
  assert message in caplog.text


def test_few_batches_are_kept(tmp_path):
  _steps(tmp_path, [1, 0] * 5)
  assert len(list((tmp_path / "not_finite").iterdir())) == 3


def test_a_run_that_does_not_recover_ends(tmp_path):
  _steps(tmp_path, [1, 1, 0, 1, 1], limit=3)
  with pytest.raises(FloatingPointError, match="step 4.*in a row: 3"):
    _steps(tmp_path, [0, 1, 1, 1], limit=3)
  with pytest.raises(FloatingPointError, match="step 1.*first module.*row: 1"):
    _steps(tmp_path, [1], limit=1)


def test_outputs_that_are_traced_are_passed_over():
  params = {"params": _params(-1.0, 1.0)}
  compute = lambda: jax.jit(Outer().apply)(params, jnp.ones((1, 1)))
  assert skipped_steps.first_module(compute) is None
