"""The jitted training step, compiled once for every shape of batch."""

from __future__ import annotations

import logging
import time
from typing import Any

import jax

_logger = logging.getLogger(__name__)


class CompiledStep:
  """(state, batch) -> (state, metrics); donates the state.

  Args:
    jitted: the step, see `setup.Assembly`.
    num_shapes: of batches that may come, for the log.
  """

  def __init__(self, jitted: Any, num_shapes: int):
    self._jitted = jitted
    self._programs: dict[tuple[tuple[int, ...], ...], Any] = {}
    self._num_shapes = num_shapes

  def prepare(self, state: Any, batch: Any) -> None:
    """Compiles for such a batch, unless that is done; runs nothing."""
    shapes = _shapes(batch)
    if shapes in self._programs:
      return
    largest = "x".join(map(str, max(shapes, key=lambda s: (len(s), s))))
    _logger.info("compiling the step for batches of %s ...", largest)
    started = time.time()
    self._programs[shapes] = self._jitted.lower(state, batch).compile()
    _logger.info(
      "compiled the step (%d of at most %d) in %.1f s",
      len(self._programs),
      self._num_shapes,
      time.time() - started,
    )

  def __call__(self, state: Any, batch: Any) -> Any:
    self.prepare(state, batch)
    return self._programs[_shapes(batch)](state, batch)


def _shapes(batch: Any) -> tuple[tuple[int, ...], ...]:
  return tuple(leaf.shape for leaf in jax.tree.leaves(batch))
