"""Reads JSON that a user put there: every fault names the file."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from sgmg_jax import regular_file
from sgmg_jax.errors import UserError


def read(path: str | os.PathLike, expected: str, *, kind: type = dict) -> Any:
  """The content of a JSON file.

  Args:
    path: of the file.
    expected: what it should hold, for messages.
    kind: of the outermost value, dict or list.

  Raises:
    UserError: no such file, not JSON, or another kind of value.
  """
  path = pathlib.Path(path)
  try:
    content = json.loads(regular_file.read_bytes(path))
  except FileNotFoundError as e:
    raise UserError(f"{path}: no such file, expected {expected}") from e
  except OSError as e:
    raise UserError(f"{path}: cannot be read ({e.strerror})") from e
  except (ValueError, RecursionError) as e:
    raise UserError(f"{path}: not JSON ({e}), expected {expected}") from e
  if not isinstance(content, kind):
    raise UserError(
      f"{path}: holds a {type(content).__name__}, expected {expected}"
    )
  return content
