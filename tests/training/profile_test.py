"""Which steps are traced, and where to."""

import jax
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.training import profile


@pytest.fixture
def calls(monkeypatch):
  noted = []
  start = lambda folder: noted.append(f"start {folder.name}")
  monkeypatch.setattr(jax.profiler, "start_trace", start)
  stop = lambda: noted.append("stop")
  monkeypatch.setattr(jax.profiler, "stop_trace", stop)
  return noted


def run(window, folder, calls, steps=range(1, 6)):
  tracer = profile.Profile(window, folder)
  for step in steps:
    with tracer.step(step):
      calls.append(step)
    if tracer.is_last(step):
      tracer.close()
  tracer.close()
  return calls


def test_a_window_of_steps(tmp_path, calls):
  assert run("2:2", tmp_path, calls) == [
    1,
    *["start profile", 2, 3, "stop"],
    *[4, 5],
  ]


def test_a_run_that_ends_early_or_starts_late(tmp_path, calls):
  assert run("5:9", tmp_path, calls)[-3:] == ["start profile", 5, "stop"]
  calls.clear()
  assert run("5:9", tmp_path, calls, range(6, 9)) == [6, 7, 8]
  calls.clear()
  assert run("", tmp_path, calls) == [1, 2, 3, 4, 5]


def test_one_of_several_processes_traces(tmp_path, calls, monkeypatch):
  monkeypatch.setattr(jax, "process_index", lambda: 1)
  assert run("2:2", tmp_path, calls) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("window", ["5", "0:3", "3:0", "a:b", "5:-1", "1:2:3"])
def test_another_window_is_refused(tmp_path, window):
  with pytest.raises(UserError, match="profile: expected first:count"):
    profile.Profile(window, tmp_path)


def test_a_trace_is_written(tmp_path):
  run("1:1", tmp_path, [], [1])
  (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
  assert trace.stat().st_size > 0
