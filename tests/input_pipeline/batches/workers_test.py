"""Worker processes end with the process that started them."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sgmg_jax.input_pipeline.batches import workers


@pytest.mark.parametrize("num_workers", (0, 1, 2))
def test_results_come_in_order_and_end(num_workers):
  results = workers.in_order(
    abs, range(-7, 0), num_workers=num_workers, prefetch=3
  )
  assert list(results) == [7, 6, 5, 4, 3, 2, 1]


PARENT = textwrap.dedent("""
  import itertools, os, pathlib, sys, time
  from sgmg_jax.input_pipeline.batches import workers

  def make(number):
    folder = pathlib.Path(sys.argv[1])
    (folder / str(os.getpid())).touch()
    # Until every worker is there, so that none stays idle.
    while len(list(folder.iterdir())) < 3:
      time.sleep(0.01)
    return number

  if __name__ == "__main__":
    batches = workers.in_order(
      make, itertools.count(), num_workers=3, prefetch=6
    )
    print(next(batches), flush=True)
    sys.stdin.readline()
    print(sum(next(batches) for _ in range(12)), flush=True)
    time.sleep(600)
""")


def alive(pid):
  """Whether a process runs; one that only waits to be reaped does not."""
  try:
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
  except FileNotFoundError:
    return False
  return state.split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", (signal.SIGKILL, signal.SIGTERM))
def test_workers_die_with_a_killed_parent(tmp_path, how):
  script, pids = tmp_path / "parent.py", tmp_path / "pids"
  script.write_text(PARENT)
  pids.mkdir()
  with subprocess.Popen(
    [sys.executable, script, pids],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    env=os.environ,
  ) as parent:
    assert parent.stdout.readline() == b"0\n"
    workers = [int(path.name) for path in pids.iterdir()]
    assert len(workers) == 3 and all(map(alive, workers))
    # What a terminal or a batch system sends to all is the parent's business.
    for pid in workers:
      for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, signum)
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == b"78\n"
    parent.send_signal(how)
  end = time.monotonic() + 10
  try:
    while left := [pid for pid in workers if alive(pid)]:
      assert time.monotonic() < end, f"{left} outlive their parent"
      time.sleep(0.05)
  finally:
    for pid in workers:
      if alive(pid):
        os.kill(pid, signal.SIGKILL)
