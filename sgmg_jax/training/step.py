"""One training step, pure: (state, batch) -> (state, metrics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sgmg_jax import precision, types
from sgmg_jax.training import parts
from sgmg_jax.training import state as state_lib

TrainState = state_lib.TrainState
TrainStep = Callable[
  [TrainState, Any], tuple[TrainState, dict[str, types.Array]]
]
# (params, batch, rngs "dropout" and "drop_path", axis) -> (loss, metrics), both
# this device's share of the sums over the mesh axis of that name; None: the
# batch is not shared.
Objective = Callable[
  [types.Params, Any, dict[str, types.Array], str | None],
  tuple[types.Array, dict[str, types.Array]],
]


def _freeze(params: types.Params, trainable: types.Params) -> types.Params:
  """Cuts the gradient of frozen parameters, and with it their backward
  pass."""
  return jax.tree.map(
    lambda x, train: x if train else jax.lax.stop_gradient(x),
    params,
    trainable,
  )


def make_step(
  objective: Objective,
  tx: optax.GradientTransformation,
  *,
  trainable: types.Params,
  seed: int,
  policy: precision.Policy,
  ema_decay: float = 0.0,
  axis: str | None = None,
) -> TrainStep:
  """Builds the step; the caller jits it and donates the state.

  Args:
    objective: the loss to minimise.
    tx: the optimizer, see `optimizer.make_optimizer`.
    trainable: tree of bool, see `optimizer.trainable_mask`.
    seed: of dropout and drop path.
    policy: of float32 products, the model's.
    ema_decay: of the moving average, if the state carries one.
    axis: name of the mesh axis that the batch is shared over, see
      `data_parallel.shard_step`; None if it is not.

  Returns:
    The step. Its metrics are the objective's, `total` (the loss), `grad_norm`
    (before clipping) and those of `parts.gradient_norms`, all float[].
  """

  def train_step(state, batch):
    rngs = state_lib.step_rngs(seed, state.step)
    if axis is not None:
      # Each device draws its own dropout mask.
      index = jax.lax.axis_index(axis)
      rngs = {k: jax.random.fold_in(v, index) for k, v in rngs.items()}

    def loss(params):
      return objective(_freeze(params, trainable), batch, rngs, axis)

    (total, metrics), grads = jax.value_and_grad(loss, has_aux=True)(
      state.params
    )
    if axis is not None:
      total, metrics, grads = jax.lax.psum((total, metrics, grads), axis)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
      # A short memory at first, or the random start would linger.
      step = state.step.astype(jnp.float32)
      decay = jnp.minimum(ema_decay, (1.0 + step) / (10.0 + step))
      ema = optax.incremental_update(params, ema, 1.0 - decay)
    metrics |= {"total": total, "grad_norm": optax.global_norm(grads)}
    metrics |= parts.gradient_norms(grads, trainable)
    return TrainState(
      step=state.step + 1, params=params, opt_state=opt_state, ema=ema
    ), metrics

  # Also what is no part of the model: heads, and Muon's products.
  return precision.follow(policy, train_step)
