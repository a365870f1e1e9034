"""Open files that a user names; refuse pipes, which would wait for ever."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Final

_KINDS: Final = {
  stat.S_IFDIR: "a folder",
  stat.S_IFIFO: "a pipe",
  stat.S_IFSOCK: "a socket",
  stat.S_IFCHR: "a device",
  stat.S_IFBLK: "a device",
}


def check(path: str | os.PathLike) -> None:
  """Check a file before a library opens it by name.

  Raises:
    OSError: no such file, or no regular one; `strerror` says what it is.
  """
  try:
    kind = stat.S_IFMT(os.stat(path).st_mode)
  except ValueError as e:  # A null byte in a name that a file lists.
    raise OSError(errno.EINVAL, str(e), str(path)) from e
  if kind != stat.S_IFREG:
    what = _KINDS.get(kind, "no file")
    raise OSError(errno.EINVAL, f"{what}, expected a regular file", str(path))


def open_binary(path: str | os.PathLike) -> BinaryIO:
  """Open a file for reading.

  Raises:
    OSError: as `check` and `open`.
  """
  check(path)
  return open(path, "rb")


def read_bytes(path: str | os.PathLike) -> bytes:
  """Content of a file; errors as `open_binary`."""
  with open_binary(path) as file:
    return file.read()
