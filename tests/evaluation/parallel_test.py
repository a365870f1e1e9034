"""Jobs over processes: order, progress, errors, and ends before the work."""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import parallel


@pytest.fixture
def work(monkeypatch):
  monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)
  return importlib.import_module("parallel_work").work


@pytest.mark.parametrize("processes", [1, 2])
def test_results_in_order_and_progress(work, processes):
  finished = []
  results = parallel.run(
    work,
    iter([0, 1, 2, 3]),
    processes=processes,
    on_finished=lambda: finished.append(os.getpid()),
  )
  assert results == [0, 10, 20, 30]
  assert finished == [os.getpid()] * 4


def test_workers_are_other_processes_without_jax(work):
  found = parallel.run(work, ["modules"] * 2, processes=2)
  assert all(not jax and pid != os.getpid() for jax, pid in found)


def test_one_job_needs_no_pool(work):
  ((_, pid),) = parallel.run(work, ["modules"], processes=2)
  assert pid == os.getpid()
  assert parallel.run(work, []) == []


def test_an_error_is_raised_as_it_is_and_ends_the_rest(work):
  start = time.monotonic()
  # 100 seconds and more of work beside it, and after it.
  jobs = [-10_000, UserError("a.png: damaged"), -10_000]
  with pytest.raises(UserError, match="^a.png: damaged$"):
    parallel.run(work, jobs, processes=2)
  assert time.monotonic() - start < 20


def test_a_worker_that_dies_is_told(work):
  with pytest.raises(UserError, match="2 processes ended before .* memory"):
    parallel.run(work, [0, "die", 2], processes=2)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupt_ends_at_once(tmp_path):
  script = tmp_path / "long.py"
  script.write_text(
    textwrap.dedent("""
      import sys, time
      from sgmg_jax.evaluation import parallel

      def work(job):
        print("started", flush=True)
        time.sleep(100)

      if __name__ == "__main__":
        parallel.run(work, range(9), processes=2)
    """)
  )
  # A session of its own: a terminal signals all processes of a group.
  with subprocess.Popen(
    [sys.executable, script],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  ) as process:
    assert process.stdout.readline() == "started\n"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
  assert err.splitlines()[-1] == "KeyboardInterrupt"
  assert "SpawnProcess" not in err


@pytest.mark.parametrize("how", ["a file", "standard input"])
def test_scripts_need_no_guard(how, tmp_path):
  """Workers do not run them again."""
  text = textwrap.dedent("""
    from sgmg_jax.evaluation import parallel
    print(parallel.run(abs, [-1, -2], processes=2))
  """)
  script = tmp_path / "script.py"
  script.write_text(text)
  arguments = [str(script)] if how == "a file" else ["-"]
  result = subprocess.run(
    [sys.executable, *arguments],
    input=text,
    capture_output=True,
    text=True,
    check=True,
  )
  assert result.stdout == "[1, 2]\n"
