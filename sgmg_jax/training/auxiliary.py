"""Auxiliary losses: heads that are trained beside the model and thrown away.

`config.auxiliary` names them by import path; the paper's recipes have none.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import jax

from sgmg_jax import types
from sgmg_jax.errors import UserError
from sgmg_jax.losses import means


class Task(Protocol):
  """One auxiliary loss; a module can be one.

  Attributes:
    NAME: key of the heads among the parameters in training.
    LABELS: the entries of `Batch.labels` that it reads.
    EVERY_FRAME: whether it reads the features of all frames, or of the
      annotated ones alone.
  """

  NAME: str
  LABELS: tuple[str, ...]
  EVERY_FRAME: bool

  def init(self, key: jax.Array, width: int) -> types.Params:
    """Draws the heads for feature maps of `width` channels."""

  def losses(
    self,
    params: types.Params,
    video: types.VideoFeatures,
    fused: Sequence[jax.Array],
    decoded: types.DecoderOutput,
    batch: types.Batch,
  ) -> tuple[means.Mean, dict[str, means.Mean]]:
    """Computes the loss, weighted, and metrics.

    Args:
      video: features of the B clips, see `EVERY_FRAME`.
      fused: what `SgMg.fuse` returns, maps of B * E expressions, or of the B
        clips if the model is a Fast SgMg.
      decoded: what `SgMg.transform` returns.
    """


def load(paths: Iterable[str]) -> list[Task]:
  """Imports the tasks that a config names.

  Raises:
    UserError: no such module.
  """
  tasks = []
  for path in paths:
    try:
      tasks.append(importlib.import_module(path))
    except ImportError as error:
      raise UserError(
        f"auxiliary: {path!r} cannot be imported ({error})"
      ) from error
  return tasks


def label_names(tasks: Sequence[Task]) -> tuple[str, ...]:
  """Names the entries of `Batch.labels` that the tasks read, each once."""
  return tuple(dict.fromkeys(name for task in tasks for name in task.LABELS))


def init_heads(tasks: Sequence[Task], seed: int, width: int) -> types.Params:
  """Draws the heads of all tasks, by name."""
  key = jax.random.key(seed)
  return {
    task.NAME: task.init(jax.random.fold_in(key, i), width)
    for i, task in enumerate(tasks, 1)
  }


def without_heads(params: types.Params, tasks: Sequence[Task]) -> types.Params:
  """Returns the model's parameters alone."""
  names = {task.NAME for task in tasks}
  return {name: part for name, part in params.items() if name not in names}
