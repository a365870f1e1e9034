"""Write outputs atomically: complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

from sgmg_jax import errors
from sgmg_jax.files import scratch as scratch_lib

# What only writing meets: the disk is full, over quota, read-only.
_REFUSALS = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EROFS}
# Written to find out whether a disk is full.
_PROBE_BYTES = 1 << 20


@contextlib.contextmanager
def output(
  path: str | os.PathLike, *, overwrite: bool = False, num_bytes: int = 0
) -> Iterator[pathlib.Path]:
  """Yield a temporary path that becomes `path` when the block succeeds.

  The block makes a file or a directory there. If it raises, the temporary
  output goes and whatever was at `path` stays. A symbolic link stays one: what
  it points to is made or replaced.

  Args:
    overwrite: replace what is there.
    num_bytes: that the output takes at least; a disk with less space is
      refused before anything is written.

  Raises:
    UserError: `path` exists and `overwrite` is not set, it cannot be replaced
      as a whole or by something of another kind, or it or its parent cannot be
      written (no permission, the disk is full).
  """
  named, path = path, resolve(path)
  if os.path.exists(path):
    if not overwrite:
      raise errors.UserError(f"{named} exists already: choose another name")
    check_replaceable(named)
  with contextlib.ExitStack() as stack:
    try:
      # Or a name too long would be found when all is done.
      with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()
      _make_parents(path, stack)
      # In the same folder: only there is a rename one atomic step.
      scratch = stack.enter_context(scratch_lib.folder(path))
      if shutil.disk_usage(scratch).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
      raise _cannot_write(named, error) from error
    new, old = scratch / "new", scratch / "old"
    try:
      yield new
    except errors.UserError:
      raise
    except Exception as error:
      if refusal := _refusal(error, scratch):
        raise _cannot_write(named, refusal) from error
      raise
    if os.path.exists(path) and path.is_dir() != new.is_dir():
      kinds = ("a file", "a folder")
      raise errors.UserError(
        f"{named} is {kinds[path.is_dir()]}, expected {kinds[new.is_dir()]} to "
        "replace"
      )
    try:
      if os.path.exists(path):
        os.replace(path, old)
      try:
        os.replace(new, path)
      except BaseException:
        if old.exists():
          os.replace(old, path)
        raise
    except OSError as error:
      raise _cannot_write(named, error) from error


def resolve(path: str | os.PathLike) -> pathlib.Path:
  """Absolute path without symbolic links, which need not exist.

  Raises:
    UserError: the links lead in a circle, or it is an address.
  """
  check_mounted(path)
  resolved = pathlib.Path(os.path.realpath(pathlib.Path(path).expanduser()))
  if os.path.islink(resolved):
    raise errors.UserError(f"{path}: its symbolic links lead in a circle")
  return resolved


def check_mounted(path: str | os.PathLike) -> None:
  """Raise a UserError if `path` is an address, such as gs://bucket/run: a
  bucket cannot rename a folder in one step."""
  # pathlib makes one slash of two.
  if re.match("[a-z][a-z0-9]+:/", os.fspath(path)):
    raise errors.UserError(
      f"{path} is an address: expected a path of a mounted file system "
      "(docs/training.md, Buckets)"
    )


def check_replaceable(path: str | os.PathLike) -> None:
  """Raise a UserError if `output` could not replace what is at `path`.

  A mount point cannot be moved, the user's shell would stay behind in the old
  folder, and a device such as /dev/null is nobody's to replace.
  """
  resolved = resolve(path)
  if not resolved.is_dir() and not resolved.is_file():
    raise errors.UserError(
      f"{path} is neither a file nor a folder and cannot be replaced"
    )
  mounted = resolved.is_mount()
  if mounted or pathlib.Path.cwd().is_relative_to(resolved):
    what = "a mount point" if mounted else "the folder you are in"
    raise errors.UserError(
      f"{path} is {what} and cannot be replaced: expected a new folder, such "
      f"as {pathlib.Path(path) / 'out'}"
    )


def check_file(path: str | os.PathLike) -> None:
  """Raise a UserError if `output` could not write a file at `path`.

  For files that are written after long work.
  """
  resolved = resolve(path)
  if resolved.is_dir():
    raise errors.UserError(f"{path} is a folder, expected a file to write")
  if os.path.exists(resolved):
    check_replaceable(path)
  parent = next(p for p in resolved.parents if os.path.exists(p))
  if not parent.is_dir() or not os.access(parent, os.W_OK):
    raise errors.UserError(f"cannot write {path}: {parent} is not writable")


def _make_parents(path: pathlib.Path, stack: contextlib.ExitStack) -> None:
  """Make them; those still empty when `stack` closes go again."""
  missing = [parent for parent in path.parents if not os.path.exists(parent)]
  for parent in reversed(missing):
    parent.mkdir(exist_ok=True)
    stack.callback(_remove_empty, parent)


def _remove_empty(folder: pathlib.Path) -> None:
  with contextlib.suppress(OSError):
    folder.rmdir()


def find_refusal(error: BaseException) -> OSError | None:
  """The file system's reason for a failure, if it is known to be the cause."""
  cause: BaseException | None = error
  while cause is not None:
    if isinstance(cause, OSError) and cause.errno in _REFUSALS:
      return cause
    # Libraries of C++ raise errors of their own that quote the system's words.
    for code in _REFUSALS:
      if os.strerror(code) in str(cause):
        return OSError(code, os.strerror(code))
    cause = cause.__cause__ or cause.__context__
  return None


def _refusal(error: Exception, scratch: pathlib.Path) -> OSError | None:
  """As `find_refusal`, or the disk's answer when it is asked."""
  if refusal := find_refusal(error):
    return refusal
  # Libraries say in many ways that a disk is full.
  try:
    (scratch / "probe").write_bytes(b"\0" * _PROBE_BYTES)
  except OSError as full:
    return full
  return None


def _cannot_write(path: str | os.PathLike, error: OSError) -> errors.UserError:
  return errors.UserError(f"cannot write {path}: {error.strerror or error}")
