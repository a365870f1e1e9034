"""A profile of a few steps of a run, for TensorBoard or Perfetto."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Final

import jax

from sgmg_jax import distributed
from sgmg_jax.errors import UserError

_logger = logging.getLogger(__name__)

FOLDER: Final = "profile"


class Profile:
  """Traces steps first, …, first + count - 1 into `<folder>/profile/`.

  A run that goes on behind the first of them traces none: the steps of a
  profile follow each other without a pause. Of several processes the first
  traces: on one machine they would write the same files.
  """

  def __init__(self, window: str, folder: pathlib.Path):
    """Read the window; nothing starts yet.

    Args:
      window: "first:count", counted as the log counts steps; "": none.

    Raises:
      UserError: it is something else.
    """
    self._folder = folder / FOLDER
    self._first = self._last = 0
    self._running = False
    if window:
      match = re.fullmatch(r"(\d+):(\d+)", window)
      if not match or not all(int(number) for number in match.groups()):
        raise UserError(
          "profile: expected first:count, two numbers of steps above 0, such "
          f"as 20:5, got {window!r}"
        )
      first, count = map(int, match.groups())
      self._first, self._last = first, first + count - 1

  @contextlib.contextmanager
  def step(self, step: int) -> Iterator[None]:
    """Marks a step, and starts the trace with the first."""
    if step == self._first and distributed.is_leader():
      jax.profiler.start_trace(self._folder)
      self._running = True
    if not self._running:
      yield
      return
    with jax.profiler.StepTraceAnnotation("train", step_num=step):
      yield

  def is_last(self, step: int) -> bool:
    """Whether to close the trace, once this step is computed."""
    return self._running and step == self._last

  def close(self) -> None:
    """Writes the trace, if there is one, which takes a while."""
    if self._running:
      self._running = False
      jax.profiler.stop_trace()
      _logger.info("profile: %s", self._folder)
