"""Independent jobs over the processor's cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import process
from typing import Any, TypeVar

import tqdm

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import workers

Job, Result = TypeVar("Job"), TypeVar("Result")


def usable_cores() -> int:
  """Processor cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def run(
  function: Callable[[Job], Result],
  jobs: Iterable[Job],
  *,
  processes: int | None = None,
  on_finished: Callable[[], Any] = lambda: None,
) -> list[Result]:
  """Call a function on every job, in several processes.

  Each process takes the next job when it has finished one, so jobs may differ
  in size; the largest should come first. One process, or one job, is run in
  the caller's own.

  Args:
    function: of a job; it, the jobs and the results are pickled. One of the
      caller's own script needs `if __name__ == "__main__"` there.
    jobs: in the order of the results.
    processes: at most; None is one for each core that may be used.
    on_finished: called, in the caller's process, after every finished job.

  Returns:
    The results, in the order of the jobs.

  Raises:
    UserError: a process ended before its work, as when memory runs out.
    Exception: the first that `function` raised. What still runs, then or when
      the caller is interrupted, is ended at once.
  """
  jobs = list(jobs)
  processes = min(processes or usable_cores(), len(jobs))
  if processes <= 1:
    results = []
    for job in jobs:
      results.append(function(job))
      on_finished()
    return results
  # A fork would inherit JAX's threads and locks.
  context = multiprocessing.get_context("spawn")
  # Nothing is ever sent: its end tells the workers to end.
  ended, alive = context.Pipe(duplex=False)
  pool = futures.ProcessPoolExecutor(
    processes,
    mp_context=context,
    initializer=workers.start_worker,
    initargs=(ended,),
  )
  try:
    # Processes start when they are first needed.
    with _main_left_out(function):
      pending = [pool.submit(function, job) for job in jobs]
    for future in futures.as_completed(pending):
      future.result()
      on_finished()
    return [future.result() for future in pending]
  except process.BrokenProcessPool as error:
    raise UserError(
      f"one of {processes} processes ended before its work was done, as when "
      "memory runs out; try fewer processes"
    ) from error
  finally:
    alive.close()
    ended.close()
    pool.shutdown(cancel_futures=True)


def with_bar(
  processes: int | None = None,
) -> Callable[[Callable[[Job], Result], Iterable[Job]], list[Result]]:
  """`run` in so many processes, showing a bar on a terminal."""

  def run_jobs(function, jobs):
    # None: only on a terminal.
    jobs = list(jobs)
    with tqdm.tqdm(total=len(jobs), unit="part", disable=None) as bar:
      return run(function, jobs, processes=processes, on_finished=bar.update)

  return run_jobs


@contextlib.contextmanager
def _main_left_out(function: Callable[..., Any]) -> Iterator[None]:
  """Start processes that do not run the caller's script again.

  They would, to find what it defines. A script without a guard for its main
  part fails then, and so does one that is read from standard input. A function
  of the script itself needs it.
  """
  main = sys.modules["__main__"]
  if function.__module__ != main.__name__:
    sys.modules["__main__"] = types.ModuleType(main.__name__)
  try:
    yield
  finally:
    sys.modules["__main__"] = main
