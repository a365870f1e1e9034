"""Worker processes that make batches ahead, handed out in order.

The processes die with their parent, also when it is killed: they hold both
ends of the queue they wait at, so that its end would never tell them.
"""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from multiprocessing import connection
from typing import TypeVar

Job, Result = TypeVar("Job"), TypeVar("Result")


def in_order(
  make: Callable[[Job], Result],
  jobs: Iterable[Job],
  *,
  num_workers: int,
  prefetch: int,
) -> Iterator[Result]:
  """Call `make` for each of `jobs`, which may have no end.

  Args:
    make: to pickle; its result must depend on the job alone.
    num_workers: processes that call it; 0 calls it in this one.
  """
  if num_workers == 0:
    yield from map(make, jobs)
    return
  # A fork would inherit JAX's threads and locks.
  context = multiprocessing.get_context("spawn")
  pool = futures.ProcessPoolExecutor(
    num_workers, mp_context=context, initializer=start_worker
  )
  try:
    submitted = (pool.submit(make, job) for job in jobs)
    ahead = max(prefetch, num_workers)
    pending = collections.deque(itertools.islice(submitted, ahead))
    while pending:
      pending.extend(itertools.islice(submitted, 1))
      yield pending.popleft().result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def start_worker(ended: connection.Connection | None = None) -> None:
  """Make a process of `multiprocessing` end with its parent, and only then.

  A thread waits at a pipe that the kernel closes with the parent, however it
  ends. (Linux's signal at a parent's death comes at that of the thread that
  started the process, which may well end before.)

  Args:
    ended: a pipe whose other end the parent may close before; None: the one
      that every process has.
  """
  # Terminals and batch systems signal all processes; the parent decides, and
  # may need what is on its way to save in peace.
  for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_IGN)
  pipe = ended or multiprocessing.parent_process().sentinel

  def watch():
    connection.wait([pipe])
    os._exit(1)

  threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
