"""Read and write a JSON file that holds one object."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from sgmg_jax import errors
from sgmg_jax.files import atomic

# Ten times the largest tokenizer.
_MAX_BYTES = 2**28


def read(path: pathlib.Path) -> dict[str, Any]:
  """The object of a JSON file.

  Raises:
    UserError: not readable, too large, no JSON, or no object.
  """
  try:
    with open(path, "rb") as file:
      data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
      raise ValueError(f"over {_MAX_BYTES:,} bytes")
    content = json.loads(data)
  except OSError as error:
    raise errors.UserError(
      f"{path} cannot be read: {error.strerror or error}"
    ) from error
  # RecursionError: brackets in brackets by the thousand.
  except (ValueError, RecursionError) as error:
    raise errors.UserError(f"{path} is damaged: {error}") from error
  if not isinstance(content, dict):
    raise errors.UserError(f"{path} is damaged: it holds no JSON object")
  return content


def write(
  path: str | os.PathLike, content: Mapping[str, Any], *, overwrite: bool = True
) -> None:
  """Write an object for people to read, whole or not at all."""
  with atomic.output(path, overwrite=overwrite) as new:
    new.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
