"""SHA-256 digests of the files of a checkpoint."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Mapping


def of_folder(
  folder: str | os.PathLike, subfolder: str = "."
) -> dict[str, str]:
  """Digests of all files of a folder.

  Args:
    subfolder: of `folder`, to hash no more than that.

  Returns:
    SHA-256 in hexadecimal digits by path relative to `folder`, "/" between
    the names, sorted.

  Raises:
    OSError: a file cannot be read.
  """
  folder = pathlib.Path(folder)
  digests = {}
  for path in sorted((folder / subfolder).rglob("*")):
    if path.is_file():
      with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
      digests[path.relative_to(folder).as_posix()] = digest
  return digests


def differences(
  expected: Mapping[str, str], found: Mapping[str, str]
) -> list[str]:
  """List the files of a folder that are not as expected, with the reason.

  Args:
    found: digests of the files as they are; more files are no harm.
  """
  return [
    f"{name} is {'changed' if name in found else 'missing'}"
    for name, digest in expected.items()
    if found.get(name) != digest
  ]
