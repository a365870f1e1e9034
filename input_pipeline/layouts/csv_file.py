"""Read a CSV file that a user put there: every fault names the file."""

from __future__ import annotations

import csv
import os

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems


def read(path: str | os.PathLike) -> list[list[str]]:
  """Rows of the file, without those that are blank.

  Raises:
    UserError: no such file, not UTF-8, or not CSV.
  """
  try:
    regular_file.check(path)
    with open(path, encoding="utf-8", newline="") as file:
      return [
        row for row in csv.reader(file) if any(field.strip() for field in row)
      ]
  except (OSError, UnicodeDecodeError, csv.Error) as e:
    missing = isinstance(e, FileNotFoundError)
    raise problems.Problem(
      "file-missing" if missing else "malformed",
      f"cannot be read ({e})",
      file=path,
    ) from e
