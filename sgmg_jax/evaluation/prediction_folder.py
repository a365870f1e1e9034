"""A folder of predictions, written unit by unit: who stops can go on.

```
run.json                   what made the predictions
progress/<worker>.jsonl    a line for each unit that is complete
predictions/               in the benchmark's layout
scores.json, sentences.csv once scored
```

A unit is what shares an encoding: a video, or an annotated frame. Its line is
written after its files, so a unit without a line is done again, over what a
killed run may have left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sgmg_jax.errors import UserError
from sgmg_jax.files import json_object

RUN_FILE: Final = "run.json"
PROGRESS: Final = "progress"
PREDICTIONS: Final = "predictions"


class PredictionFolder:
  """Predictions of one run. Safe for threads; processes have a worker each.

  Attributes:
    predictions: the folder in it for predicted files.
    resumed: whether an earlier start of the same run left something.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    run: Mapping[str, Any],
    *,
    overwrite: bool = False,
    worker: int = 0,
  ):
    """Make the folder, or go on with the one that is there.

    Args:
      path: of the folder; others' files in it are refused.
      run: all that the predictions depend on, in JSON's types.
      overwrite: delete an evaluation of another run first.
      worker: number of this process; the first prepares the folder, so the
        others have to wait for it.

    Raises:
      UserError: something else lies there, or the predictions of another run:
        names what differs.
    """
    self.path = pathlib.Path(path)
    self.predictions = self.path / PREDICTIONS
    self._log = self.path / PROGRESS / f"{worker:05d}.jsonl"
    self._lock = threading.Lock()
    # As they will be read: tuples become lists.
    run = json.loads(json.dumps(run, allow_nan=False))
    file = self.path / RUN_FILE
    if worker == 0:
      self._prepare(file, run, overwrite)
    held = json_object.read(file)
    if held != run:
      raise UserError(_other_run(self.path, held, run))
    for folder in (self._log.parent, self.predictions):
      folder.mkdir(exist_ok=True)
    _end_last_line(self._log)
    self._records = {r["unit"]: r for r in self._read()}
    self.resumed = bool(self._records)

  def _prepare(self, file: pathlib.Path, run: Any, overwrite: bool) -> None:
    _make(self.path)
    if file.is_file():
      if not overwrite or json_object.read(file) == run:
        return
      # Not the folder itself, which `alone` holds.
      for held in self.path.iterdir():
        shutil.rmtree(held) if held.is_dir() else held.unlink()
    elif any(self.path.iterdir()):
      raise UserError(
        f"{self.path}: holds files but no {RUN_FILE}, expected a new folder or "
        "one of an evaluation"
      )
    json_object.write(file, run, overwrite=False)

  @property
  def done(self) -> frozenset[str]:
    """Units that are complete, by all processes when this one started."""
    return frozenset(self._records)

  def add(self, unit: str, record: Mapping[str, Any]) -> None:
    """Note a unit whose files are written; its record is of JSON's types."""
    line = json.dumps({"unit": unit, **record}, allow_nan=False) + "\n"
    with self._lock:
      with open(self._log, "a", encoding="utf-8") as file:
        file.write(line)
      self._records[unit] = json.loads(line)

  def records(self, units: Sequence[str]) -> list[dict[str, Any]]:
    """The records of these units, of all processes.

    Raises:
      UserError: some are not done.
    """
    found = {r["unit"]: r for r in self._read()}
    lacking = [unit for unit in units if unit not in found]
    if lacking:
      raise UserError(
        f"{self.path}: {len(lacking)} of {len(units)} units are not predicted, "
        f"the first is {lacking[0]}: the same command goes on; processes must "
        "share the folder"
      )
    return [found[unit] for unit in units]

  def _read(self) -> list[dict[str, Any]]:
    records = []
    for log in sorted((self.path / PROGRESS).glob("*.jsonl")):
      for line in log.read_text(encoding="utf-8").splitlines():
        # A line that a kill cut short counts as not written.
        if line.endswith("}"):
          try:
            records.append(json.loads(line))
          except ValueError:
            continue
    return records


@contextlib.contextmanager
def alone(path: str | os.PathLike) -> Iterator[None]:
  """Keep other evaluations out of a folder, which is made if need be.

  The lock is the kernel's (`flock`) and goes with the process. Where a file
  system has none, one evaluation a folder is the user's care.

  Raises:
    UserError: another evaluation uses it, or it is a file.
  """
  _make(pathlib.Path(path))
  folder = os.open(path, os.O_RDONLY)
  try:
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
      os.close(folder)
      raise UserError(
        f"{path}: in use by another evaluation: wait for it, stop it, or "
        "choose another folder"
      ) from error
  try:
    yield
  finally:
    os.close(folder)


def predictions_in(path: str | os.PathLike) -> pathlib.Path:
  """The predicted files, if this is a folder of ours; else the path itself."""
  path = pathlib.Path(path)
  ours = (path / RUN_FILE).is_file() and (path / PREDICTIONS).is_dir()
  return path / PREDICTIONS if ours else path


def _make(path: pathlib.Path) -> None:
  if path.exists() and not path.is_dir():
    raise UserError(f"{path}: a file, expected a folder or a new name")
  path.mkdir(parents=True, exist_ok=True)


def _end_last_line(log: pathlib.Path) -> None:
  """Or what is appended would join a line that a kill cut short."""
  content = log.read_bytes() if log.is_file() else b""
  if content and not content.endswith(b"\n"):
    with open(log, "a", encoding="utf-8") as file:
      file.write("\n")


def _other_run(path: pathlib.Path, held: Any, run: Mapping[str, Any]) -> str:
  names = [k for k in {**held, **run} if held.get(k) != run.get(k)]
  what = ", ".join(
    f"{name} {_short(held.get(name))} (now {_short(run.get(name))})"
    for name in names
  )
  return (
    f"{path}: holds predictions of another run, of {what}: choose another "
    "folder, or overwrite it (--overwrite)"
  )


def _short(value: Any) -> str:
  text = json.dumps(value, allow_nan=False)
  return text if len(text) <= 60 else f"{text[:57]}..."
