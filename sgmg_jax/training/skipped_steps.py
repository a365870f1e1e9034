"""Steps whose loss or gradient is infinite or NaN: found, explained, counted.

The step itself leaves the state as it was (`step.make_step`). Here the batch is
kept, the first module whose output is not finite is looked for, and a run that
does not recover ends.
"""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import distributed, types
from sgmg_jax.files import atomic
from sgmg_jax.training import broken_arrays
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib

_logger = logging.getLogger(__name__)

FOLDER: Final = "not_finite"
# Of the first ones the batches are kept.
_MOST_FILES: Final = 3


class Guard:
  """Follows the steps of a run, one step behind the devices.

  Args:
    folder: of the run; batches go to `not_finite/` in it.
    limit: skipped steps in a row that end the run.
    objective: of the steps.
    seed: of their dropout.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    limit: int,
    objective: step_lib.Objective,
    seed: int,
  ):
    self._folder, self._limit = folder / FOLDER, limit
    self._objective, self._seed = objective, seed
    self._last: tuple[int, Any, Any] | None = None
    self._in_a_row = 0

  def add(
    self, step: int, batch: Any, metrics: Any, params: types.Params
  ) -> None:
    """Notes a step that was sent to the devices and looks at the one before,
    see `look`."""
    self.look(params)
    self._last = step, batch, metrics

  def look(self, params: types.Params) -> None:
    """Looks at the last step.

    Args:
      params: of the state now.

    Raises:
      FloatingPointError: so many steps in a row were skipped that the run must
        end.
    """
    if self._last is None:
      return
    step, batch, metrics = self._last
    self._last = None
    if not float(metrics["skipped"]):
      self._in_a_row = 0
      return
    self._in_a_row += 1
    message = f"step {step}: the loss or its gradient is not finite"
    if self._in_a_row == 1:
      message += f"; {self._explain(step, batch, params)}"
    if self._in_a_row >= self._limit:
      raise FloatingPointError(
        f"{message} (skipped in a row: {self._in_a_row}, max_skipped)"
      )
    _logger.warning("%s; skipped", message)

  def _explain(self, step: int, batch: Any, params: types.Params) -> str:
    batch, params = distributed.local(batch), distributed.local(params)
    if not distributed.is_leader():
      return "the first process tells more"
    rngs = state_lib.step_rngs(self._seed, jnp.int32(step - 1))
    compute = lambda: self._objective(params, batch, rngs)
    if found := broken_arrays.find_broken(batch):
      reason = f"the batch holds such values in {found[0]}"
    elif where := first_module(compute):
      reason = f"the first module whose output is not is {where}"
    else:
      reason = "all modules' outputs are, so it is the gradient"
    return reason + self._keep(step, batch)

  def _keep(self, step: int, batch: Any) -> str:
    if len(list(self._folder.glob("*.npz"))) >= _MOST_FILES:
      return ""
    path = self._folder / f"step_{step:08d}.npz"
    arrays = {
      jax.tree_util.keystr(name, simple=True, separator="/"): np.asarray(x)
      for name, x in jax.tree.leaves_with_path(batch)
    }
    with atomic.output(path, overwrite=True) as new, new.open("wb") as file:
      np.savez(file, **arrays)
    return f"; the batch is in {path}"


class _Found(Exception):
  """Ends a computation early."""


def first_module(compute: Callable[[], Any]) -> str | None:
  """Names the first module whose output is not finite.

  Args:
    compute: calls modules; not jitted, so that their outputs can be looked at.
      Those of modules that are computed again in the backward pass cannot;
      their outer module is named.
  """
  found = []

  def look(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if not found and broken_arrays.find_broken(_concrete(result)):
      path = "/".join(context.module.path) or type(context.module).__name__
      method = context.method_name
      found.append(path if method == "__call__" else f"{path}.{method}")
      raise _Found
    return result

  try:
    with nn.intercept_methods(look):
      compute()
  except _Found:
    pass
  return found[0] if found else None


def _concrete(tree: Any) -> list[jax.Array]:
  """The arrays of a tree that hold values, not those of a program."""
  return [
    x
    for x in jax.tree.leaves(tree)
    if isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
  ]
