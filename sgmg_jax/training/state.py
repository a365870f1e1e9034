"""The train state: every array that one step hands to the next."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import struct

from sgmg_jax import types

Array = types.Array
Params = types.Params


@struct.dataclass
class TrainState:
  """Attributes:
  step: int32[], updates made so far.
  params: the model's parameters.
  opt_state: the optimizer's state.
  ema: moving average of `params`, or None where it is off.
  """

  step: Array
  params: Params
  opt_state: optax.OptState
  ema: Params | None

  @property
  def best_params(self) -> Params:
    """Parameters to evaluate and export: the average where there is one."""
    return self.params if self.ema is None else self.ema


def create(
  params: Params, tx: optax.GradientTransformation, *, use_ema: bool
) -> TrainState:
  """The state before the first step."""
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=tx.init(params),
    ema=jax.tree.map(jnp.copy, params) if use_ema else None,
  )


def step_rngs(seed: int, step: Array) -> dict[str, Array]:
  """The random streams of one step, derived rather than carried: a resumed
  run repeats the same dropout."""
  key = jax.random.fold_in(jax.random.key(seed), step)
  dropout, drop_path = jax.random.split(key)
  return {"dropout": dropout, "drop_path": drop_path}
