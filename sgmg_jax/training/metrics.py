"""Metrics on their way to disk, and the guard that stops a broken run.

`clu.metric_writers` cannot be imported without TensorFlow, so the two files
every run gets are written here: `metrics.jsonl`, one object per line, and
TensorBoard events through TensorBoard's own writer.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import sys
import time
import types
from collections.abc import Mapping

# TensorBoard would load TensorFlow where it is installed, for half a minute
# and to look for accelerators; the name tells it to do without.
sys.modules.setdefault(
  "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf")
)

from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: E402
from tensorboard.summary.writer import event_file_writer  # noqa: E402

from sgmg_jax.errors import UserError  # noqa: E402


class MetricWriter:
  """Writes scalars to `metrics.jsonl` and TensorBoard events in a folder.

  Lines of steps after `resume_step` are dropped at the start: a run that
  stopped after its last checkpoint writes those steps again.
  """

  def __init__(self, workdir: str | os.PathLike, resume_step: int = 0):
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    self._path = folder / "metrics.jsonl"
    kept = [m for m in read_metrics(self._path) if m["step"] <= resume_step]
    temporary = self._path.with_suffix(".tmp")
    temporary.write_text(
      "".join(json.dumps(m, allow_nan=False) + "\n" for m in kept)
    )
    temporary.replace(self._path)
    self._lines = self._path.open("a")
    self._events = event_file_writer.EventFileWriter(str(folder))

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    values = {name: float(value) for name, value in scalars.items()}
    self._lines.write(
      json.dumps({"step": step, **values}, allow_nan=False) + "\n"
    )
    self._lines.flush()
    summary = summary_pb2.Summary(
      value=[
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in values.items()
      ]
    )
    self._events.add_event(
      event_pb2.Event(wall_time=time.time(), step=step, summary=summary)
    )

  def close(self) -> None:
    self._lines.close()
    self._events.close()


def read_metrics(path: str | os.PathLike) -> list[dict[str, float]]:
  """All lines of a `metrics.jsonl`; none if there is no such file.

  Raises:
    UserError: a line that is not a JSON object with a step.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  metrics = []
  lines = path.read_text().splitlines()
  for number, line in enumerate(lines, 1):
    try:
      entry = json.loads(line)
      entry["step"]
    except (ValueError, TypeError, KeyError) as error:
      # A run that was killed may leave its last line unfinished.
      if number == len(lines):
        break
      raise UserError(
        f"{path}:{number}: expected a JSON object with a step"
      ) from error
    metrics.append(entry)
  return metrics


def raise_on_nan(
  first_step: int, last_step: int, scalars: Mapping[str, float]
) -> None:
  """Stops the run at the first number that is none.

  Raises:
    FloatingPointError: names the metrics and the steps they are a mean of.
  """
  bad = sorted(k for k, v in scalars.items() if not math.isfinite(v))
  if bad:
    raise FloatingPointError(
      f"not finite in steps {first_step}..{last_step}: {', '.join(bad)}"
    )
