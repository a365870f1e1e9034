"""Assemble a training: trained parameters, optimizer, state, sharded step.

The loop, pre-training, the benchmark and ahead-of-time compilation all train
through `assemble`: how state and batches lie on the devices is decided here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from sgmg_jax import precision as precision_lib
from sgmg_jax import types
from sgmg_jax.errors import UserError
from sgmg_jax.model import backbone, sgmg, variants
from sgmg_jax.model import remat as remat_lib
from sgmg_jax.training import auxiliary, forward, optimizer, sharding
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib


@dataclasses.dataclass(frozen=True)
class Assembly:
  """A training on a mesh of devices; it holds no arrays.

  State and batches are global arrays, see `sharding`.

  Attributes:
    step: (state, batch) -> (state, metrics), jitted; donates the state.
    state: shapes and shardings of the state.
    batch_sharding: of every array of a batch, by its first axis.
    groups: of the optimizer, see `optimizer.make_optimizer`.
  """

  mesh: jax.sharding.Mesh
  step: Any
  state: state_lib.TrainState
  batch_sharding: jax.sharding.Sharding
  objective: step_lib.Objective
  seed: int
  groups: tuple[optimizer.Group, ...]
  _tx: optax.GradientTransformation

  def create(self, params: types.Params) -> state_lib.TrainState:
    """The state before the first step, every device with its part alone."""
    shardings = jax.tree.map(lambda x: x.sharding, self.state)
    params = jax.tree.map(sharding.place, params, shardings.params)
    use_ema = self.state.ema is not None
    create = functools.partial(state_lib.create, tx=self._tx, use_ema=use_ema)
    return jax.jit(create, out_shardings=shardings)(params)


def build_model(
  variant: variants.Variant,
  *,
  dtype: str = "float32",
  remat: str | bool = remat_lib.NONE,
  precision: str = "highest",
) -> sgmg.SgMg:
  """Builds the network; see `configs/common.py` for the settings.

  Raises:
    UserError: no such dtype, remat or precision.
  """
  # Of computation; parameters are float32 all the same.
  if dtype not in ("float32", "bfloat16"):
    raise UserError(f"dtype: expected float32 or bfloat16, got {dtype!r}")
  try:
    remat = remat_lib.check(remat)
  except ValueError as error:
    raise UserError(f"remat: {error}") from error
  return sgmg.SgMg(
    variant,
    dtype=jnp.dtype(dtype),
    remat=remat,
    precision=precision_lib.check(precision),
  )


def assemble(
  objective: step_lib.Objective,
  params: types.Params,
  *,
  mesh: jax.sharding.Mesh,
  schedule: optax.Schedule,
  groups: Sequence[optimizer.Group],
  seed: int,
  policy: precision_lib.Policy,
  ema_decay: float = 0.0,
  accumulation: int = 1,
  rules: Sequence[sharding.Rule] = (),
  heads: Sequence[str] = (),
  **settings: Any,
) -> Assembly:
  """Assembles a training; nothing is computed or compiled yet.

  Args:
    params: the parameters, or their shapes.
    mesh: of `sharding.make_mesh`.
    seed: of dropout and drop path.
    policy: of float32 products, the model's.
    ema_decay: of the parameters' moving average; 0 is none.
    accumulation: parts of a batch that are computed one after the other; more
      than 1 takes an objective whose sums have one count, see `step`.
    rules: how the state lies on the mesh, see `sharding.by_rules`.
    **settings: weight_decay, grad_clip and name of `optimizer.make_optimizer`.

  Raises:
    UserError: see `optimizer.make_optimizer` and `sharding.by_rules`.
  """
  tx = optimizer.make_optimizer(
    params, schedule, groups=groups, heads=heads, **settings
  )
  create = functools.partial(state_lib.create, tx=tx, use_ema=ema_decay > 0)
  state = jax.eval_shape(create, params)
  shardings = sharding.by_rules(state, rules, mesh)
  step = step_lib.make_step(
    sharding.add_over_batch(objective, mesh, shardings.params),
    tx,
    trainable=optimizer.trainable_mask(params, groups),
    seed=seed,
    policy=policy,
    ema_decay=ema_decay,
    accumulation=accumulation,
  )
  batch_sharding = sharding.batch(mesh)
  return Assembly(
    mesh=mesh,
    step=jax.jit(
      step,
      in_shardings=(shardings, batch_sharding),
      out_shardings=(shardings, sharding.replicated(mesh)),
      donate_argnums=0,
    ),
    state=with_sharding(state, shardings),
    batch_sharding=batch_sharding,
    objective=objective,
    seed=seed,
    groups=tuple(groups),
    _tx=tx,
  )


def of_config(
  config: ConfigDict,
  model: sgmg.SgMg,
  tasks: Sequence[auxiliary.Task],
  params: types.Params,
  *,
  schedule: optax.Schedule,
  devices: Sequence[Any] | None = None,
) -> Assembly:
  """Assembles the training that a config describes.

  Args:
    params: of the model and, under its name, of each task; or their shapes.
    devices: None: all there are.

  Raises:
    UserError: see `assemble` and `sharding.make_mesh`; or auxiliary losses and
      accumulation.
  """
  if tasks and config.accumulation > 1:
    raise UserError(
      "accumulation: auxiliary losses have divisors of their own, which parts "
      "of a batch do not know: expected 1, or auxiliary=()"
    )
  groups = [
    *((names, None) for names in backbone.constants(model.variant)),
    *(tuple(group) for group in config.optimizer.groups),
  ]
  trainable = optimizer.trainable_mask(params, groups)
  text_trained = any(jax.tree.leaves(trainable["text_encoder"]))
  return assemble(
    forward.make_objective(
      model, tasks, text_dropout=config.frozen_text_dropout or text_trained
    ),
    params,
    mesh=sharding.make_mesh(
      config.data.batch_size,
      accumulation=config.accumulation,
      devices=devices,
      **config.mesh,
    ),
    schedule=schedule,
    seed=config.seed,
    policy=model.precision,
    ema_decay=config.ema_decay,
    accumulation=config.accumulation,
    rules=config.sharding,
    heads=[task.NAME for task in tasks],
    **{**config.optimizer.to_dict(), "groups": groups},
  )


def with_sharding(tree: Any, shardings: Any) -> Any:
  """The shapes of a tree's arrays with shardings, one for all or a tree."""
  if isinstance(shardings, jax.sharding.Sharding):
    one = shardings
    shardings = jax.tree.map(lambda _: one, tree)
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    tree,
    shardings,
  )
