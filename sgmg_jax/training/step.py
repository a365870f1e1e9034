"""One training step, pure: (state, batch) -> (state, metrics)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from sgmg_jax import precision, types
from sgmg_jax.losses import criterion
from sgmg_jax.model import sgmg
from sgmg_jax.training import auxiliary, forward
from sgmg_jax.training import state as state_lib

TrainState = state_lib.TrainState
TrainStep = Callable[
  [TrainState, types.Batch], tuple[TrainState, dict[str, types.Array]]
]


def _freeze(params: types.Params, trainable: types.Params) -> types.Params:
  """Cuts the gradient of frozen parameters, and with it their backward
  pass."""
  return jax.tree.map(
    lambda x, train: x if train else jax.lax.stop_gradient(x),
    params,
    trainable,
  )


def make_train_step(
  model: sgmg.SgMg,
  tx: optax.GradientTransformation,
  *,
  trainable: types.Params,
  seed: int,
  ema_decay: float,
  tasks: Sequence[auxiliary.Task] = (),
  text_dropout: bool = True,
  axis: str | None = None,
) -> TrainStep:
  """Builds the step; the caller jits it and donates the state.

  Args:
    model: the network.
    tx: the optimizer, see `optimizer.make_optimizer`.
    trainable: tree of bool, see `optimizer.trainable_mask`.
    seed: of dropout and drop path.
    ema_decay: of the moving average, if the state carries one.
    tasks: auxiliary losses, see `forward.losses`.
    text_dropout: see `forward.losses`.
    axis: name of the mesh axis that the batch is shared over, see
      `data_parallel.shard_step`; None if it is not.

  Returns:
    The step. Its metrics are the unweighted losses, `total` (weighted),
    `grad_norm` (before clipping) and those of the tasks, all float[].
  """

  def train_step(state, batch):
    rngs = state_lib.step_rngs(seed, state.step)
    if axis is not None:
      # Other clips, other dropout.
      index = jax.lax.axis_index(axis)
      rngs = {k: jax.random.fold_in(v, index) for k, v in rngs.items()}

    def objective(params):
      losses, extra, _ = forward.losses(
        model,
        _freeze(params, trainable),
        batch,
        rngs,
        tasks=tasks,
        text_dropout=text_dropout,
        axis=axis,
      )
      total = criterion.total(losses)
      for loss, measured in extra:
        total += loss
        losses |= measured
      return total, losses

    (total, losses), grads = jax.value_and_grad(objective, has_aux=True)(
      state.params
    )
    if axis is not None:
      total, losses, grads = jax.lax.psum((total, losses, grads), axis)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
      # A short memory at first, or the random start would linger.
      step = state.step.astype(jnp.float32)
      decay = jnp.minimum(ema_decay, (1.0 + step) / (10.0 + step))
      ema = optax.incremental_update(params, ema, 1.0 - decay)
    metrics = losses | {"total": total, "grad_norm": optax.global_norm(grads)}
    return TrainState(
      step=state.step + 1, params=params, opt_state=opt_state, ema=ema
    ), metrics

  # Also what is no part of the model: heads, and Muon's products.
  return precision.follow(model.precision, train_step)
