"""Checkpoints of a run: the train state and the position in the data.

Saved together and asynchronously through Orbax, under a temporary name until
complete; starting the same command again goes on from the last one.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from sgmg_jax.errors import UserError
from sgmg_jax.training import state as state_lib

TrainState = state_lib.TrainState


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Shape of each array under its path; structs and their saved form, which
  is plain dicts and lists, give the same paths."""

  def name(key):
    for attribute in ("key", "name", "idx"):
      if hasattr(key, attribute):
        return str(getattr(key, attribute))
    raise TypeError(f"unknown tree key {key!r}")

  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {"/".join(map(name, path)): tuple(x.shape) for path, x in flat}


class Checkpointer:
  """Saves to and restores from `<workdir>/checkpoints`."""

  def __init__(self, workdir: str | os.PathLike, *, keep: int):
    folder = os.path.join(os.path.abspath(workdir), "checkpoints")
    self._folder = folder
    self._manager = ocp.CheckpointManager(
      folder,
      options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
      item_handlers={
        "state": ocp.StandardCheckpointHandler(),
        "data": ocp.JsonCheckpointHandler(),
      },
    )

  @property
  def latest_step(self) -> int | None:
    return self._manager.latest_step()

  def save(self, state: TrainState, position: dict[str, Any]) -> None:
    """Saves under the state's step; returns before the files are written.

    Args:
      state: copied before return, so the caller may donate it.
      position: in the data, JSON.
    """
    # The writer's thread must not look into buffers the next step reuses.
    state = jax.tree.map(jnp.copy, state)
    self._manager.save(
      int(state.step),
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(position)
      ),
    )

  def read_position(self) -> dict[str, Any]:
    """The position in the data of the latest checkpoint."""
    restored = self._manager.restore(
      self.latest_step, args=ocp.args.Composite(data=ocp.args.JsonRestore())
    )
    return restored["data"]

  def restore(self, like: TrainState) -> TrainState:
    """The state of the latest checkpoint.

    Args:
      like: a state of the wanted shapes.

    Raises:
      UserError: the saved state has other names or shapes; lists each.
    """
    step = self.latest_step
    saved = self._manager.item_metadata(step)["state"]
    self._raise_on_mismatch(step, _shapes(saved.tree), _shapes(like))
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)),
    )
    return restored["state"]

  def _raise_on_mismatch(self, step, saved, wanted):
    problems = [
      f"{name}: saved {saved.get(name, 'nothing')}, "
      f"expected {wanted.get(name, 'nothing')}"
      for name in sorted(saved.keys() | wanted.keys())
      if saved.get(name) != wanted.get(name)
    ]
    if problems:
      raise UserError(
        f"{self._folder}/{step} does not fit this config (use another "
        f"workdir): {'; '.join(problems)}"
      )

  def close(self) -> None:
    """Waits until everything is on disk."""
    self._manager.wait_until_finished()
    self._manager.close()
