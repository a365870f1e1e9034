"""Read the files below a folder or in a zip alike, by name."""

from __future__ import annotations

import errno
import functools
import os
import pathlib
import zipfile
import zlib
from typing import BinaryIO, Final

from sgmg_jax import errors
from sgmg_jax.files import regular_file

# Folders in folders: a link that leads upwards would never end.
_MAX_DEPTH: Final = 8
# Larger ones than a file of masks or sentences can be.
MAX_BYTES: Final = 2**30
# What file managers and archivers leave behind.
_LITTER: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Tree:
  """The files below a folder or in a zip; nothing is unpacked.

  It is pickled as its path, and each process opens it once.

  Attributes:
    names: relative to it, with "/" between parts, sorted; hidden files and
      what file managers leave are not among them.
  """

  path: pathlib.Path
  names: tuple[str, ...]

  def __reduce__(self):
    return _reopen, (str(self.path),)

  def read(self, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Content of one file.

    Raises:
      UserError: no such file, damaged, or over `max_bytes`; names it.
    """
    where = f"{self.path}/{name}"
    try:
      with self._open(name) as file:
        data = file.read(max_bytes + 1)
    except KeyError as e:
      raise errors.UserError(f"{where}: no such file") from e
    except OSError as e:
      raise errors.UserError(f"{where}: {e.strerror or e}") from e
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as e:
      raise errors.UserError(f"{where}: damaged ({e})") from e
    if len(data) > max_bytes:
      raise errors.UserError(f"{where}: over {max_bytes:,} bytes")
    return data

  def _open(self, name: str) -> BinaryIO:
    raise NotImplementedError


def open_tree(path: str | os.PathLike) -> Tree:
  """Open a folder or zip and list its files.

  Raises:
    UserError: neither of them, or a zip that is damaged, encrypted, or holds
      names that lead out of it.
  """
  root = pathlib.Path(path)
  if root.is_dir():
    return _Folder(root)
  try:
    regular_file.check(root)
  except OSError as e:
    message = e.strerror or str(e)
    raise errors.UserError(
      f"{path}: {message}; expected a folder or a zip"
    ) from e
  return _Zip(root)


# `open_tree` itself keeps nothing: where files are written, a folder changes.
@functools.lru_cache(maxsize=4)
def _reopen(path: str) -> Tree:
  return open_tree(path)


class _Folder(Tree):
  def __init__(self, root: pathlib.Path):
    self.path = root
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
      inside = pathlib.Path(folder).relative_to(root)
      folders[:] = [name for name in folders if not _is_litter(name)]
      if len(inside.parts) >= _MAX_DEPTH:
        folders.clear()
      prefix = "".join(f"{part}/" for part in inside.parts)
      found += [prefix + name for name in files if not _is_litter(name)]
    self.names = tuple(sorted(found))

  def _open(self, name: str) -> BinaryIO:
    return regular_file.open_binary(self.path / name)


class _Zip(Tree):
  def __init__(self, path: pathlib.Path):
    self.path = path
    try:
      self._archive = zipfile.ZipFile(path)
    # Damaged directories make zipfile raise several types.
    except Exception as e:
      if isinstance(e, OSError) and e.errno not in (None, errno.EINVAL):
        raise
      raise errors.UserError(
        f"{path}: not a zip, or a damaged one ({e}); expected a folder or a zip"
      ) from e
    self._entries: dict[str, zipfile.ZipInfo] = {}
    for entry in self._archive.infolist():
      name = entry.filename
      parts = name.split("/")
      if entry.is_dir() or any(_is_litter(p) for p in parts if p != ".."):
        continue
      wrong = {"", ".."} & set(parts)
      if wrong or "\\" in name or not name.isprintable():
        raise errors.UserError(
          f"{path}: holds a file {name[:200]!r}, expected names such as "
          "Annotations/video/0/00000.png"
        )
      if name in self._entries:
        raise errors.UserError(f"{path}: holds {name} twice")
      if entry.flag_bits & 1 or entry.compress_type not in _METHODS:
        raise errors.UserError(
          f"{path}: {name} is encrypted or compressed in a way that not every "
          "program reads; expected an ordinary zip (stored or deflated)"
        )
      self._entries[name] = entry
    self.names = tuple(sorted(self._entries))

  def _open(self, name: str) -> BinaryIO:
    return self._archive.open(self._entries[name])


def _is_litter(name: str) -> bool:
  return name.startswith(".") or name in _LITTER
