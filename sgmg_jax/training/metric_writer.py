"""Metrics of several steps, and their way to disk.

`clu.metric_writers` (0.0.12) cannot be imported without TensorFlow, which
training needs for real data alone, and has no JSONL. So the two files every run
gets are written here: `metrics.jsonl`, one object per line, and TensorBoard
events through TensorBoard's own writer.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import pathlib
import sys
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import PIL.Image

# TensorBoard would load TensorFlow where it is installed, for half a minute
# and to look for accelerators; the name tells it to do without.
sys.modules.setdefault(
  "tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf")
)

from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: E402
from tensorboard.summary.writer import event_file_writer  # noqa: E402

from sgmg_jax.training import workdir as workdir_lib  # noqa: E402

_logger = logging.getLogger(__name__)

_QUALITY: Final = 85


class MetricWriter:
  """Writes scalars to `metrics.jsonl` and TensorBoard events in a folder, and
  pictures to the latter.

  Lines of steps after `resume_step` are dropped at the start: a run that
  stopped after its last checkpoint writes those steps again. Lines that cannot
  be read, such as the last one of a run that was killed, go to
  `metrics.unreadable`: they stop no run and are not lost.
  """

  def __init__(self, workdir: str | os.PathLike, resume_step: int = 0):
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    content = path.read_bytes() if path.exists() else b""
    entries, unreadable = _parse(content)
    if unreadable:
      aside = folder / "metrics.unreadable"
      with aside.open("ab") as file:
        file.writelines(line + b"\n" for line in unreadable)
      _logger.warning(
        "%s: moved %d unreadable lines to %s",
        path,
        len(unreadable),
        aside.name,
      )
    kept = [m for m in entries if m["step"] <= resume_step]
    workdir_lib.write_text(
      path, "".join(json.dumps(m, allow_nan=False) + "\n" for m in kept)
    )
    self._lines = path.open("a")
    self._events = event_file_writer.EventFileWriter(str(folder))

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    values = {name: float(value) for name, value in scalars.items()}
    self._lines.write(
      json.dumps({"step": step, **values}, allow_nan=False) + "\n"
    )
    self._lines.flush()
    self._add(
      step,
      [
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in values.items()
      ],
    )

  def write_images(
    self, step: int, images: Mapping[str, PIL.Image.Image]
  ) -> None:
    """Write pictures by name, to TensorBoard alone."""
    values = []
    for name, image in images.items():
      file = io.BytesIO()
      image.save(file, "JPEG", quality=_QUALITY)
      encoded = summary_pb2.Summary.Image(
        height=image.height,
        width=image.width,
        colorspace=3,
        encoded_image_string=file.getvalue(),
      )
      values.append(summary_pb2.Summary.Value(tag=name, image=encoded))
    self._add(step, values)

  def _add(self, step: int, values: Sequence[Any]) -> None:
    self._events.add_event(
      event_pb2.Event(
        wall_time=time.time(),
        step=step,
        summary=summary_pb2.Summary(value=values),
      )
    )

  def close(self) -> None:
    self._lines.close()
    self._events.close()


def read_metrics(path: str | os.PathLike) -> list[dict[str, float]]:
  """The lines of a `metrics.jsonl` that can be read; none without a file."""
  path = pathlib.Path(path)
  return _parse(path.read_bytes())[0] if path.exists() else []


def _parse(content: bytes) -> tuple[list[dict[str, float]], list[bytes]]:
  """Entries, and the lines that are none: JSON objects of numbers, one of them
  the step."""
  entries, unreadable = [], []
  for line in content.splitlines():
    try:
      entry = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):  # The first: also not UTF-8.
      entry = None
    if (
      isinstance(entry, dict)
      and isinstance(entry.get("step"), int)
      and all(isinstance(value, (int, float)) for value in entry.values())
    ):
      entries.append(entry)
    elif line.strip():
      unreadable.append(line)
  return entries, unreadable


def _refuse(constant: str) -> None:
  raise ValueError(f"{constant} is no JSON")


def means_of(
  first_step: int, steps: Sequence[Mapping[str, float]]
) -> dict[str, float]:
  """The means over steps that were not skipped, and how many were.

  Raises:
    FloatingPointError: names the first step that was not skipped though a
      metric is infinite or NaN, and its metrics.
  """
  done = []
  for step, scalars in enumerate(steps, first_step):
    if scalars["skipped"]:
      continue
    done.append(scalars)
    bad = sorted(k for k, v in scalars.items() if not math.isfinite(v))
    if bad:
      raise FloatingPointError(f"not finite in step {step}: {', '.join(bad)}")
  means = {k: float(np.mean([m[k] for m in done])) for k in (done or [{}])[0]}
  return means | {"skipped": len(steps) - len(done)}
