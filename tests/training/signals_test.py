"""Real signals to real trainings: what is saved, said and returned."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Compiles within seconds; both loops share what is tested here.
CONFIG = pathlib.Path(__file__).parents[2] / "configs/refshapes_text.py"
FLAGS = (
  "--config.phases=((2,8,60,1e-3),)",
  "--config.model.text_layers=1",
  "--config.checkpoint_every=1000",
)


class Run:
  """A training in a process group of its own, as a terminal starts it."""

  def __init__(self, folder, *flags):
    self.process = subprocess.Popen(
      [sys.executable, "-m", "sgmg_jax.cli.main", "pretrain"]
      + [f"--config={CONFIG}:runlocal", f"--workdir={folder}", *FLAGS, *flags],
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
      env=os.environ | {"SGMG_CACHE_DIR": f"{folder}-cache"},
    )
    self.lines = []

  def wait_for(self, pattern):
    for line in self.process.stderr:
      self.lines.append(line)
      if re.search(pattern, line):
        return
    pytest.fail(f"no {pattern}: {self.lines}")

  def finish(self):
    """The return code and all of stderr, which ends when the last process that
    the training started does."""
    try:
      _, rest = self.process.communicate(timeout=120)
    finally:
      self.process.kill()
    return self.process.returncode, "".join(self.lines) + rest


def test_sigterm_saves(tmp_path):
  run = Run(tmp_path / "run")
  run.wait_for("step 2/60")
  run.process.send_signal(signal.SIGTERM)
  code, stderr = run.finish()
  assert code == 143 and "Traceback" not in stderr
  # Of the run itself: Python's own processes may have the last word.
  *_, last = (x for x in stderr.splitlines() if x.startswith("sgmg:"))
  checkpoints = tmp_path / "run/checkpoints"
  saved = re.fullmatch(
    rf"sgmg: SIGTERM: step (\d+) is saved in {re.escape(str(checkpoints))}; "
    "the same command goes on from there",
    last,
  )
  assert saved, stderr
  step = int(saved.group(1))
  assert 2 <= step < 60 and (checkpoints / str(step)).is_dir()


def test_ctrl_c_while_compiling_ends_at_once(tmp_path):
  run = Run(tmp_path / "run")
  run.wait_for("compiling the step")
  os.killpg(run.process.pid, signal.SIGINT)
  code, stderr = run.finish()
  assert code == 130
  assert "compiled the step" not in stderr
  # Python's resource tracker may speak as well.
  first, last = re.findall("^sgmg: SIGINT.*", stderr, re.MULTILINE)
  assert first.startswith("sgmg: SIGINT: stopping; a second one")
  assert last == "sgmg: SIGINT: nothing to save yet"
  for word in ("Traceback", "Segmentation", "Fatal"):
    assert word not in stderr
