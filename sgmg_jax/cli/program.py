"""The command that starts this program again, for lines that users copy."""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import sys


def command() -> str:
  """`sgmg` where the shell finds this one, else the path it was started by, or
  `python -m sgmg_jax`."""
  script = pathlib.Path(sys.argv[0])
  if script.stem == "sgmg" and script.is_file():
    return "sgmg" if _finds("sgmg", script) else shlex.quote(str(script))
  python = sys.executable
  if _finds("python", pathlib.Path(python)):
    python = "python"
  return f"{shlex.quote(python)} -m sgmg_jax"


def _finds(name: str, path: pathlib.Path) -> bool:
  """Whether the shell runs the file at `path` when told `name`."""
  found = shutil.which(name)
  # Not resolved: an environment's python is a link to the system's.
  return found is not None and os.path.abspath(found) == str(path.absolute())
