"""One training step, pure: (state, batch) -> (state, metrics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sgmg_jax import precision, types
from sgmg_jax.losses import means
from sgmg_jax.training import parts
from sgmg_jax.training import state as state_lib

TrainState = state_lib.TrainState
TrainStep = Callable[
  [TrainState, Any], tuple[TrainState, dict[str, types.Array]]
]
# (params, batch, rngs "dropout" and "drop_path") -> (loss, metrics), of any
# part of a batch.
Objective = Callable[
  [types.Params, Any, dict[str, types.Array]],
  tuple[means.Mean, dict[str, means.Mean]],
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
  accumulation: int = 1,
) -> TrainStep:
  """Builds the step; the caller jits it and donates the state.

  Args:
    objective: the loss to minimise, of global arrays.
    policy: of float32 products, the model's.
    ema_decay: of the moving average, if the state carries one.
    accumulation: see `_accumulate`.

  Returns:
    The step. Its metrics are the objective's, `total` (the loss), `grad_norm`
    (before clipping), those of `parts.gradient_norms`, and `skipped`, all
    float[]. Where loss or gradient is infinite or NaN, the last is 1 and the
    state stays as it is, but for the count of steps.
  """

  def partly_frozen(params, batch, rngs):
    return objective(_freeze(params, trainable), batch, rngs)

  def train_step(state, batch):
    rngs = state_lib.step_rngs(seed, state.step)
    if accumulation == 1:
      loss = lambda params: means.values(partly_frozen(params, batch, rngs))
      (total, metrics), grads = jax.value_and_grad(loss, has_aux=True)(
        state.params
      )
    else:
      (total, metrics), grads = _accumulate(
        partly_frozen, accumulation, state.params, batch, rngs
      )
    norm = optax.global_norm(grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
      # A short memory at first, or the random start would linger.
      step = state.step.astype(jnp.float32)
      decay = jnp.minimum(ema_decay, (1.0 + step) / (10.0 + step))
      ema = optax.incremental_update(params, ema, 1.0 - decay)
    finite = jnp.isfinite(total) & jnp.isfinite(norm)
    new = state.replace(params=params, opt_state=opt_state, ema=ema)
    new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    metrics |= {"total": total, "grad_norm": norm, "skipped": 1.0 - finite}
    metrics |= parts.gradient_norms(grads, trainable)
    return new.replace(step=state.step + 1), metrics

  # Also what is no part of the model: heads, and Muon's products.
  return precision.follow(policy, train_step)


def _accumulate(objective, count, params, batch, rngs):
  """Loss, metrics and gradient of a batch, from parts of it in turn.

  The parts' sums are added before they are divided, so this is the gradient of
  the whole batch. That takes a loss all of whose sums are divided by the same
  count, such as the paper's: gradients are added up, not kept for each.

  Args:
    count: of the parts, which divides the clips of each device.
  """

  def differentiate(index, part):
    part_rngs = {k: jax.random.fold_in(v, index) for k, v in rngs.items()}

    def undivided(params):
      total, measured = objective(params, part, part_rngs)
      return jnp.sum(total.total), (total, measured)

    return jax.grad(undivided, has_aux=True)(params)

  pieces = jnp.arange(count), split(batch, count)
  shapes = jax.eval_shape(differentiate, *jax.tree.map(lambda x: x[0], pieces))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  add = lambda sums, part: (
    jax.tree.map(jnp.add, sums, differentiate(*part)),
    None,
  )
  (grads, (total, measured)), _ = jax.lax.scan(add, zeros, pieces)
  divisor = jnp.maximum(total.count[0], 1.0)
  grads = jax.tree.map(lambda x: x / divisor, grads)
  return means.values((total, measured)), grads


def split(batch: Any, count: int) -> Any:
  """Parts of a batch along a new first axis, each with an equal share of
  every device's clips, so that none travel."""
  clips = min(len(x) for x in jax.tree.leaves(batch))

  def cut(x):
    rows = len(x) // clips
    x = x.reshape(clips // count, count, rows, *x.shape[1:])
    return x.swapaxes(0, 1).reshape(count, -1, *x.shape[3:])

  return jax.tree.map(cut, batch)
