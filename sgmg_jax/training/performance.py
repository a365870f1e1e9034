"""Speed and memory of a run, for its log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from tqdm import tqdm


class Clock:
  """Measures how steps spend their time between two lines of the log."""

  def __init__(self, now: Callable[[], float] = time.perf_counter):
    self._now = now
    self._restart()

  def _restart(self) -> None:
    self._start = self._now()
    self._waited = self._paused = self._saved = 0.0
    self._steps = self._examples = 0

  def count(self, batch: Any) -> None:
    """Counts a step, and the examples of its batch.

    Args:
      batch: global arrays with a row, or several, for each example.
    """
    self._steps += 1
    self._examples += min(len(leaf) for leaf in jax.tree.leaves(batch))

  @contextlib.contextmanager
  def waiting(self, outputs: Any = ()) -> Iterator[None]:
    """Marks a block that waits for data.

    Args:
      outputs: arrays of the last step. If devices still compute them at the
        end of the block, they waited for nothing.
    """
    start = self._now()
    yield
    if all(leaf.is_ready() for leaf in jax.tree.leaves(outputs)):
      self._waited += self._now() - start

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves out a block that belongs to no step, such as compiling."""
    start = self._now()
    yield
    self._paused += self._now() - start

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """Marks a block in which training stands still for a checkpoint."""
    start = self._now()
    yield
    self._saved += self._now() - start

  def read(self) -> dict[str, float]:
    """Numbers of the steps since the last call, one at least; they are done.

    Returns:
      "speed/…": steps_per_second, step_seconds, examples_per_second, data_wait,
      the share of time in which devices waited for data, and
      checkpoint_seconds, the time in blocks of `saving`, which all of these
      include.
    """
    seconds = max(self._now() - self._start - self._paused, 1e-9)
    numbers = {
      "speed/steps_per_second": self._steps / seconds,
      "speed/step_seconds": seconds / self._steps,
      "speed/examples_per_second": self._examples / seconds,
      "speed/data_wait": min(self._waited / seconds, 1.0),
      "speed/checkpoint_seconds": self._saved,
    }
    self._restart()
    return numbers


def remaining(steps: int, numbers: dict[str, float]) -> str:
  """The time that so many steps take at the speed read, such as "2:31:10"."""
  return tqdm.format_interval(steps * numbers["speed/step_seconds"])


def device_memory() -> dict[str, float]:
  """Memory of this process' fullest device in GiB: "memory/now_gib" and, since
  the start, "memory/peak_gib"; empty where the platform does not tell, as on
  CPUs."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  names = {"bytes_in_use": "now", "peak_bytes_in_use": "peak"}
  return {
    f"memory/{name}_gib": max(s[key] for s in stats if key in s) / 2**30
    for key, name in names.items()
    if any(key in s for s in stats)
  }
