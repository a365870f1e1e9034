"""Checkpoints of a run: the train state and the position in the data.

Saved together and asynchronously through Orbax, under a temporary name until
complete; starting the same command again goes on from the last one whose files
are as they were written.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from sgmg_jax import distributed
from sgmg_jax.errors import UserError, first_line
from sgmg_jax.training import (
  broken_arrays,
  bucket,
  checkpoint_digests,
  orbax_noise,
)
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


@jax.jit
def _copy(tree: Any) -> Any:
  """Copies all arrays in one program: one for each shape takes a minute."""
  return jax.tree.map(jnp.copy, tree)


def _first(names: list[str]) -> str:
  more = f" and {len(names) - 1} more" if len(names) > 1 else ""
  return names[0] + more


class Checkpointer:
  """Saves to and restores from `<workdir>/checkpoints`, where the workdir may
  be a folder of a bucket (after `bucket.connect`).

  Damaged checkpoints newer than the last intact one are renamed, with a
  warning. An earlier one is deleted when a later one is complete, no sooner.
  The caller holds the folder, see `workdir.use`.

  Raises:
    UserError: there are checkpoints, but none is intact.
  """

  def __init__(self, workdir: str | os.PathLike, *, keep: int):
    folder = epath.Path(workdir)
    if not bucket.is_bucket(folder):
      folder = folder.absolute()
    self._folder = folder = folder / "checkpoints"
    self._saving = 0
    self._stack = contextlib.ExitStack()
    with distributed.leader_first("checkpoints"):
      if distributed.is_leader():
        checkpoint_digests.find_intact(folder)
    self._stack.enter_context(orbax_noise.silenced())
    self._manager = ocp.CheckpointManager(
      folder,
      options=ocp.CheckpointManagerOptions(
        max_to_keep=keep,
        create=True,
        # What a killed run was writing; nobody else writes here.
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(
          post_finalization_callback=self._write_digests
        ),
      ),
      item_handlers={
        "state": ocp.StandardCheckpointHandler(),
        "data": ocp.JsonCheckpointHandler(),
      },
    )

  @property
  def latest_step(self) -> int | None:
    return self._manager.latest_step()

  def save(self, state: TrainState, position: dict[str, Any]) -> None:
    """Saves under the state's step, unless that is saved; returns before the
    files are written.

    Args:
      state: copied before return, so the caller may donate it.
      position: in the data, JSON.

    Raises:
      FloatingPointError: a value of the state is infinite or NaN; nothing is
        saved, and the earlier checkpoints stay.
    """
    if int(state.step) == self.latest_step:
      return
    if broken := broken_arrays.find_broken(state):
      last = self.latest_step
      raise FloatingPointError(
        f"not finite after step {int(state.step)}: {_first(broken)}; not saved "
        + ("" if last is None else f"(the last good step is {last})")
      )
    # The writer's thread must not look into buffers the next step reuses.
    state = _copy(state)
    # The digests of the one before must be written before this changes.
    self._manager.wait_until_finished()
    self._saving = int(state.step)
    self._manager.save(
      self._saving,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(position)
      ),
      custom_metadata=checkpoint_digests.PROMISE,
    )

  def check(self) -> None:
    """Raises what the last save met, if that has ended; does not wait."""
    if not self._manager.is_saving_in_progress():
      self._manager.wait_until_finished()

  def _write_digests(self) -> None:
    """Called in Orbax' thread when all files are written, and before older
    checkpoints are deleted; before or after the folder gets its name."""
    if distributed.is_leader():
      name = str(self._saving)
      folders = [self._folder / name, *self._folder.glob(f"{name}.orbax*")]
      checkpoint_digests.write(next(f for f in folders if f.is_dir()))

  def read_position(self) -> dict[str, Any]:
    """The position in the data of the latest checkpoint.

    Raises:
      UserError: it cannot be read.
    """
    with self._naming_damage():
      restored = self._manager.restore(
        self.latest_step, args=ocp.args.Composite(data=ocp.args.JsonRestore())
      )
    return restored["data"]

  def restore(self, like: TrainState) -> TrainState:
    """The state of the latest checkpoint.

    Args:
      like: a state of the wanted shapes and shardings, or these alone.

    Raises:
      UserError: it cannot be read, is not finite, or has other names or
        shapes (lists each).
    """
    step = self.latest_step
    with self._naming_damage():
      saved = _shapes(self._manager.item_metadata(step)["state"].tree)
    self._raise_on_mismatch(step, saved, _shapes(like))
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with self._naming_damage():
      restored = self._manager.restore(
        step,
        args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)),
      )
    if broken := broken_arrays.find_broken(restored["state"]):
      raise UserError(
        f"{self._folder / str(step)} is not finite in {_first(broken)}: rename "
        "it to go on from the one before"
      )
    return restored["state"]

  @contextlib.contextmanager
  def _naming_damage(self):
    """For checkpoints older than digests. Orbax and the storage below it raise
    many kinds of errors, pages long, for one cause."""
    try:
      yield
    except Exception as error:
      if distributed.is_loss(error):
        raise
      reason = first_line(error, 120)
      raise UserError(
        f"{self._folder / str(self.latest_step)} is damaged "
        f"({type(error).__name__}: {reason}): rename it to go on from the one "
        "before"
      ) from error

  def _raise_on_mismatch(self, step, saved, wanted):
    problems = [
      f"{name}: saved {saved.get(name, 'nothing')}, "
      f"expected {wanted.get(name, 'nothing')}"
      for name in sorted(saved.keys() | wanted.keys())
      if saved.get(name) != wanted.get(name)
    ]
    if problems:
      raise UserError(
        f"{self._folder / str(step)} does not fit this config (use another "
        f"workdir): {'; '.join(problems)}"
      )

  def describe_last(self) -> str:
    """Tells where the latest checkpoint is, once everything is on disk."""
    self._manager.wait_until_finished()
    if self.latest_step is None:
      return "nothing to save yet"
    return (
      f"step {self.latest_step} is saved in {self._folder}; the same command "
      "goes on from there"
    )

  def close(self) -> None:
    """Waits until everything is on disk."""
    with self._stack:
      self._manager.close()
