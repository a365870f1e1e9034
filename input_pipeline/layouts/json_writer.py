"""Writes a JSON file next to a data set: all of it or nothing."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from typing import Any

from sgmg_jax.errors import UserError


def write(path: str | os.PathLike, content: Any) -> None:
  """Writes under a temporary name, renamed when complete.

  Raises:
    UserError: the folder cannot be written to.
  """
  path = pathlib.Path(path)
  try:
    handle, unfinished = tempfile.mkstemp(
      prefix=f".{path.name}.", dir=path.parent
    )
  except OSError as e:
    raise UserError(f"{path}: cannot be written ({e.strerror})") from e
  try:
    with os.fdopen(handle, "w", encoding="utf-8") as file:
      json.dump(content, file, allow_nan=False)
    # mkstemp makes files that only their owner can read.
    os.chmod(unfinished, 0o644)
    os.replace(unfinished, path)
  except BaseException:
    os.unlink(unfinished)
    raise
