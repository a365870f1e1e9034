"""Batches made ahead by other processes, handed out in order."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TypeVar

T = TypeVar("T")


def in_order(
  make: Callable[[int], T], *, start: int, num_workers: int, prefetch: int
) -> Iterator[T]:
  """`make(start)`, `make(start + 1)`, ... without end.

  Args:
    make: to pickle; what it returns must depend on the number alone.
    start: first number.
    num_workers: processes that call it; 0 calls it in this one.
    prefetch: results made ahead, with workers.
  """
  if num_workers == 0:
    yield from map(make, itertools.count(start))
  # A fork would inherit JAX's threads and locks.
  context = multiprocessing.get_context("spawn")
  pool = futures.ProcessPoolExecutor(num_workers, mp_context=context)
  try:
    ahead = max(prefetch, num_workers)
    pending = [pool.submit(make, start + i) for i in range(ahead)]
    for number in itertools.count(start + ahead):
      pending.append(pool.submit(make, number))
      yield pending.pop(0).result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
