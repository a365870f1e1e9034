"""Machine, child processes and reports of benchmarks."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sgmg_jax import errors
from sgmg_jax.evaluation import parallel


def describe(device: bool = True) -> dict[str, Any]:
  """The machine, for a report.

  Args:
    device: name the device of JAX, too; starts JAX.
  """
  machine = {
    "processor": _processor(),
    "cores": parallel.usable_cores(),
    "memory_gb": _memory_gb(),
    "system": f"{platform.system()} {platform.machine()}",
    "python": platform.python_version(),
  }
  if device:
    import jax

    found = jax.devices()[0]
    machine |= {
      "platform": found.platform,
      "device": found.device_kind,
      "jax": jax.__version__,
    }
  return machine


def peak_host_memory_gb() -> float:
  """Most memory that this process has held so far."""
  # Linux counts in KiB, macOS in bytes.
  unit = 1 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def peak_memory_gb() -> float:
  """Peak memory of the accelerator if there is one, else of this process."""
  import jax

  stats = jax.devices()[0].memory_stats()
  if stats and "peak_bytes_in_use" in stats:
    return stats["peak_bytes_in_use"] / 1e9
  return peak_host_memory_gb()


def in_process(
  module: str,
  argument: Any,
  environment: Mapping[str, str | None] | None = None,
) -> Any:
  """Answer of `python -m module` to a JSON argument, see `answer`.

  Args:
    module: calls `answer` when it is run.
    environment: variables to set on top of this process's, or, where None,
      to remove.

  Raises:
    UserError: the process raised one, or stopped otherwise.
  """
  variables = os.environ | dict(environment or {})
  result = subprocess.run(
    [sys.executable, "-m", module, json.dumps(argument, allow_nan=False)],
    env={k: v for k, v in variables.items() if v is not None},
    stdout=subprocess.PIPE,
    text=True,
  )
  if result.returncode == 0:
    return json.loads(result.stdout.splitlines()[-1])
  if result.returncode == _BAD_INPUT and result.stdout:
    raise errors.UserError(json.loads(result.stdout.splitlines()[-1]))
  if result.returncode == -signal.SIGKILL:
    raise errors.UserError(f"{module} was killed: too little memory?")
  # It has printed why.
  raise errors.UserError(f"{module} failed with code {result.returncode}")


# Exit code of a process that prints the message of a UserError.
_BAD_INPUT = 2


def answer(function: Callable[[Any], Any]) -> None:
  """Run as the main program of a module that `in_process` starts."""
  try:
    print(json.dumps(function(json.loads(sys.argv[1])), allow_nan=False))
    return
  except errors.UserError as error:
    reason = str(error)
  except (MemoryError, RuntimeError) as error:
    # JAX's own error is a RuntimeError.
    if isinstance(error, RuntimeError) and "RESOURCE_EXH" not in str(error):
      raise
    reason = f"out of memory: {str(error).partition(chr(10))[0]}"
  print(json.dumps(reason, allow_nan=False))
  sys.exit(_BAD_INPUT)


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
  """Median wall time of a call that returns when its work is done."""
  return statistics.median(seconds(call) for _ in range(repeats))


def seconds(call: Callable[[], Any]) -> float:
  """Wall time of one call."""
  start = time.perf_counter()
  call()
  return time.perf_counter() - start


def as_text(report: Mapping[str, Mapping[str, Any]]) -> str:
  """A report for people: a list per section, a table per nested mapping."""
  lines = []
  for section, values in report.items():
    lines.append(section)
    tables = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    for name, value in values.items():
      if name not in tables:
        lines.append(f"  {name:30}{_shown(value)}")
    for name, rows in tables.items():
      lines += ["", f"  {name}", *(f"  {line}" for line in _table(rows))]
  return "\n".join(lines)


def _table(rows: Mapping[str, Any]) -> Sequence[str]:
  """Lines of a table; rows that are no mapping have one cell."""
  cells = {
    name: row if isinstance(row, Mapping) else {"": row}
    for name, row in rows.items()
  }
  columns = list(dict.fromkeys(key for row in cells.values() for key in row))
  grid = [["", *columns]] + [
    [name, *(_shown(row.get(column, "")) for column in columns)]
    for name, row in cells.items()
  ]
  if columns == [""]:
    grid = grid[1:]
  widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
  # Text to the left, figures to the right.
  right = [False] + [
    all(isinstance(row.get(column, 0), int | float) for row in cells.values())
    for column in columns
  ]
  return [
    "  ".join(
      cell.rjust(width) if to_right else cell.ljust(width)
      for cell, width, to_right in zip(line, widths, right)
    ).rstrip()
    for line in grid
  ]


def _shown(value: Any) -> str:
  if not isinstance(value, float):
    return str(value)
  return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def _processor() -> str:
  path = pathlib.Path("/proc/cpuinfo")
  if path.exists():
    fields = [line.split(":", 1) for line in path.read_text().splitlines()]
    found = {f[0].strip(): f[1].strip() for f in fields if len(f) == 2}
    names = [found[k] for k in ("model name", "model") if k in found]
    if names:
      # Virtual machines hide the name; family and model still tell it.
      family, model = found.get("cpu family"), found.get("model")
      detail = f" (family {family}, model {model})" if family else ""
      return names[0] + detail
  return platform.processor() or platform.machine()


def _memory_gb() -> float:
  pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
  return round(pages * size / 1e9, 1)
