"""Scratch folders of dead processes go, those of live ones stay."""

import json
import os
import signal
import subprocess
import sys

import pytest

from sgmg_jax.files import atomic, scratch

# Begins an output, and says so.
WRITE = """
import pathlib, sys, time
from sgmg_jax.files import scratch
with scratch.folder(pathlib.Path(sys.argv[1])) as made:
  for name in sys.argv[2:]:
    (made / name).write_text(name)
  print(made.name, flush=True)
  time.sleep(60)
"""


def _begin(path, *names):
  process = subprocess.Popen(
    [sys.executable, "-c", WRITE, str(path), *names],
    stdout=subprocess.PIPE,
    text=True,
  )
  return process, process.stdout.readline().strip()


def _kill(process):
  process.send_signal(signal.SIGKILL)
  process.wait()


def _names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_those_of_the_killed_go_with_the_next_output(tmp_path):
  dead, dead_name = _begin(tmp_path / "a.json", "new")
  live, live_name = _begin(tmp_path / "b.json", "new")
  # Of another program, or an earlier version: who knows.
  (tmp_path / ".c.json.12345678.tmp").mkdir()
  rest = [".c.json.12345678.tmp"]
  assert _names(tmp_path) == sorted([*rest, dead_name, live_name])
  _kill(dead)
  with atomic.output(tmp_path / "d.json") as new:
    assert {*rest, live_name} < {*_names(tmp_path)}
    assert dead_name not in _names(tmp_path)
    new.write_text("{}")
  assert _names(tmp_path) == sorted([*rest, live_name, "d.json"])
  _kill(live)
  scratch.clear(tmp_path)
  assert _names(tmp_path) == sorted([*rest, "d.json"])


@pytest.mark.parametrize("names", [("old", "new"), ("old",)])
def test_nothing_is_lost_between_the_two_renames(tmp_path, names):
  process, _ = _begin(tmp_path / "out", *names)
  _kill(process)
  scratch.clear(tmp_path)
  assert _names(tmp_path) == ["out"]
  assert (tmp_path / "out").read_text() == names[-1]


def test_an_output_in_its_place_is_not_touched(tmp_path):
  process, _ = _begin(tmp_path / "out", "old", "new")
  _kill(process)
  (tmp_path / "out").write_text("later")
  scratch.clear(tmp_path)
  assert _names(tmp_path) == ["out"]
  assert (tmp_path / "out").read_text() == "later"


def test_those_of_other_machines_stay(tmp_path):
  process, name = _begin(tmp_path / "out", "new")
  _kill(process)
  owner = tmp_path / name / "owner"
  about = json.loads(owner.read_text())
  for text in (json.dumps(about | {"host": "elsewhere"}), "{}", "[", ""):
    owner.write_text(text)
    scratch.clear(tmp_path)
    assert _names(tmp_path) == [name]
  owner.write_text(json.dumps(about))
  scratch.clear(tmp_path)
  assert _names(tmp_path) == []


def test_one_process_may_have_several(tmp_path):
  with scratch.folder(tmp_path / "a") as one, scratch.folder(tmp_path / "a"):
    scratch.clear(tmp_path)
    assert len(_names(tmp_path)) == 2 and os.path.isdir(one)
  assert _names(tmp_path) == []
