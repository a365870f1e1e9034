"""Overlap reading, device and writing: the device waits for nobody."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")

WRITERS: Final = 2
# Results that wait to be written: as many as keep the writers busy.
_WAITING: Final = 2 * WRITERS
_END: Final = object()


@dataclasses.dataclass
class Usage:
  """Seconds of one device.

  Attributes:
    busy: in which it computed.
    wall: from start to end.
  """

  busy: float = 0.0
  wall: float = 0.0

  @property
  def idle_share(self) -> float:
    """Share of the time in which it waited for reading or writing."""
    return max(0.0, 1 - self.busy / self.wall) if self.wall else 0.0


def run(
  items: Iterable[Item],
  *,
  read: Callable[[Item], Prepared],
  compute: Callable[[Prepared], Iterator[Result]],
  write: Callable[[Item, Result], Any],
  done: Callable[[Item, list[Any]], None],
) -> Usage:
  """Take items through three stages, each in threads of its own.

  One item is read while another is computed; of the results so many wait to
  be written that memory stays bounded.

  Args:
    read: of an item, in a thread of its own.
    compute: gives the results of what was read, in the calling thread; each
      is complete, not in the making, when it is given.
    write: of one result, in threads.
    done: is called with each item whose results are all written and what
      `write` returned of them, in the order of the items.

  Returns:
    The seconds in which `compute` worked, and all.

  Raises:
    Exception: the first of any stage; the other items are left alone.
  """
  usage, start = Usage(), time.perf_counter()
  iterator = iter(items)

  def read_next():
    item = next(iterator, _END)
    return (item, None) if item is _END else (item, read(item))

  # Futures of an item's results, and at its end the item.
  waiting: collections.deque[Any] = collections.deque()
  number = 0
  written: list[Any] = []

  def settle(most: int) -> None:
    """Wait until at most so many results are in the making."""
    nonlocal number, written
    while waiting and (
      number > most
      or not _is_future(waiting[0])
      # Or an error would lose what is written.
      or waiting[0].done()
    ):
      entry = waiting.popleft()
      if _is_future(entry):
        written.append(entry.result())
        number -= 1
      else:
        done(entry[0], written)
        written = []

  reader = concurrent.futures.ThreadPoolExecutor(1, "read")
  writers = concurrent.futures.ThreadPoolExecutor(WRITERS, "write")
  try:
    ahead = reader.submit(read_next)
    while (following := ahead.result())[0] is not _END:
      item, prepared = following
      ahead = reader.submit(read_next)
      results = iter(compute(prepared))
      # Or the next item would be held as well as this one.
      del following, prepared
      while True:
        began = time.perf_counter()
        result = next(results, _END)
        usage.busy += time.perf_counter() - began
        if result is _END:
          break
        settle(_WAITING)
        waiting.append(writers.submit(write, item, result))
        number += 1
      waiting.append((item,))
    settle(0)
  finally:
    for pool in (reader, writers):
      pool.shutdown(wait=True, cancel_futures=True)
  usage.wall = time.perf_counter() - start
  return usage


def _is_future(entry: Any) -> bool:
  return isinstance(entry, concurrent.futures.Future)
