"""Saves that do not come to their end: killed at any moment, or a full disk."""

import contextlib
import pathlib
import resource
import shutil
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.training import checkpoint, workdir
from sgmg_jax.training import state as state_lib

# Larger than what fits below the limit of a full disk, and written as several
# files; compresses badly.
_NOISE = np.random.default_rng(0).normal(size=(100, 400)).astype(np.float32)
_LIMIT = 40_000
# All by which Python changes a folder.
_CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}


def _state(step, array=_NOISE[:2, :3]):
  params = {"layer": {"kernel": jnp.asarray(array) + step}}
  state = state_lib.create(params, optax.adam(1e-3), use_ema=True)
  return state.replace(step=jnp.int32(step))


def _assert_restores(folder, *steps, array=_NOISE[:2, :3]):
  """The newest checkpoint is one of `steps` and whole; returns which."""
  reader = checkpoint.Checkpointer(folder, keep=1)
  restored, position = reader.restore(_state(0, array)), reader.read_position()
  reader.close()
  step = int(restored.step)
  assert step in steps and position == {"seen": step}
  jax.tree.map(np.testing.assert_array_equal, restored, _state(step, array))
  return step


class _Copies:
  """Copies a folder before every change of a file, as a kill would leave it."""

  def __init__(self, folder, into):
    self._folder, self._into = folder, into
    self._lock, self._is_on, self._busy = threading.Lock(), False, set()
    self.copies = []
    # For ever: hooks cannot be removed.
    sys.addaudithook(self._hook)

  def _hook(self, event, arguments):
    thread = threading.get_ident()
    if not self._is_on or event not in _CHANGES or thread in self._busy:
      return
    with self._lock:
      self._busy.add(thread)
      copy = self._into / str(len(self.copies))
      # What goes while it is copied is a file with a temporary name.
      with contextlib.suppress(shutil.Error):
        shutil.copytree(self._folder, copy)
      self.copies.append(copy)
      self._busy.discard(thread)

  @contextlib.contextmanager
  def watching(self):
    self._is_on = True
    try:
      yield
    finally:
      self._is_on = False


def test_killed_at_any_moment_a_save_leaves_the_last_complete_one(tmp_path):
  writer = checkpoint.Checkpointer(tmp_path / "run", keep=1)
  writer.save(_state(1), {"seen": 1})
  writer.check()
  writer.describe_last()
  watch = _Copies(tmp_path / "run", tmp_path)
  with watch.watching():
    writer.save(_state(2), {"seen": 2})
    writer.close()
  found = [_assert_restores(copy, 1, 2) for copy in watch.copies]
  # Before the last rename the one before, then the new one, while that goes.
  assert len(found) > 20 and found == sorted(found)
  assert (found[0], found[-1]) == (1, 2)
  names = [
    {p.name for p in (c / "checkpoints").iterdir()} for c in watch.copies
  ]
  assert {"1", "2"} in names
  # What the kill left goes with the next save.
  one = watch.copies[found.count(1) - 1]
  writer = checkpoint.Checkpointer(one, keep=1)
  writer.save(_state(3), {"seen": 3})
  writer.close()
  assert [p.name for p in (one / "checkpoints").iterdir()] == ["3"]


@pytest.fixture
def full_disk():
  """Files that grow beyond some size are refused from here on."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

  @contextlib.contextmanager
  def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, hard))
    try:
      yield
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

  return limited()


def test_a_full_disk_is_one_line_and_the_last_one_stays(
  tmp_path, full_disk, caplog
):
  folder = tmp_path / "run"
  with pytest.raises(UserError) as raised, workdir.use(folder):
    writer = checkpoint.Checkpointer(folder, keep=1)
    writer.save(_state(1, _NOISE), {"seen": 1})
    writer.describe_last()
    with full_disk, contextlib.closing(writer):
      writer.save(_state(2, _NOISE), {"seen": 2})
      writer.describe_last()
  assert str(raised.value) == (
    f"cannot write {folder}: File too large; once it can be written the same "
    "command goes on from the last checkpoint"
  )
  assert not [r for r in caplog.records if r.exc_info]
  assert _assert_restores(folder, 1, array=_NOISE) == 1
  writer = checkpoint.Checkpointer(folder, keep=1)
  writer.save(_state(2, _NOISE), {"seen": 2})
  writer.close()
  assert _assert_restores(folder, 2, array=_NOISE) == 2
  assert [p.name for p in pathlib.Path(folder, "checkpoints").iterdir()] == [
    "2"
  ]


def test_a_save_that_failed_is_known_before_the_next_one(tmp_path, full_disk):
  writer = checkpoint.Checkpointer(tmp_path, keep=1)
  with full_disk, pytest.raises(ValueError, match="File too large"):
    writer.save(_state(1, _NOISE), {})
    while True:
      writer.check()
  writer.close()
