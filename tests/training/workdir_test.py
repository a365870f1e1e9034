"""The folder of a run."""

import os
import signal
import subprocess
import sys

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.training import workdir

# Holds the lock until it is killed.
HOLD = """
import sys, time
from sgmg_jax.training import workdir
with workdir.use(sys.argv[1]):
  print("locked", flush=True)
  time.sleep(60)
"""


def test_a_second_run_is_told_who_uses_it_and_a_killed_one_frees_it(tmp_path):
  folder = tmp_path / "deep" / "run"
  process = subprocess.Popen(
    [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == "locked\n"
  message = f"{folder} is in use by another run .process {process.pid} on "
  with pytest.raises(UserError, match=message), workdir.use(folder):
    pass
  process.send_signal(signal.SIGKILL)
  process.wait()
  with workdir.use(folder) as used:
    assert used == folder
    # A refused run does not take the lock from the one that holds it.
    for _ in range(2):
      with (
        pytest.raises(UserError, match=f"process {os.getpid()} "),
        workdir.use(folder),
      ):
        pass
  with workdir.use(folder):
    pass


@pytest.mark.parametrize(
  ("name", "reason"),
  [
    ("file", "File exists"),
    ("file/run", "Not a directory"),
    ("/proc/run", "No such file"),
    ("x" * 300, "File name too long"),
  ],
)
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, name, reason):
  (tmp_path / "file").write_text("kept")
  with pytest.raises(UserError) as error, workdir.use(tmp_path / name):
    pass
  assert "expected a folder that can be written" in str(error.value)
  assert reason in str(error.value) and "\n" not in str(error.value)
  assert (tmp_path / "file").read_text() == "kept"


def test_a_bucket_is_refused(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match="^gs://bucket/run is an address"):
    with workdir.use("gs://bucket/run"):
      pass
  assert not list(tmp_path.iterdir())


def test_file_systems_without_locks_get_a_warning(
  tmp_path, monkeypatch, caplog
):
  def refuse(file, operation):
    raise OSError(37, "No locks available")

  monkeypatch.setattr(workdir.fcntl, "flock", refuse)
  with workdir.use(tmp_path):
    pass
  assert "cannot be locked (No locks available)" in caplog.text


def test_text_is_replaced_whole(tmp_path):
  path = tmp_path / "config.json"
  for text in ("long text\n", "x\n"):
    workdir.write_text(path, text)
    assert path.read_text() == text
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
