"""The folder of a run: made, locked against a second run, described."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import Final

from sgmg_jax import distributed
from sgmg_jax.errors import UserError
from sgmg_jax.files import atomic, scratch

_logger = logging.getLogger(__name__)

LOCK: Final = ".lock"


@contextlib.contextmanager
def use(workdir: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Makes the folder if need be and keeps other runs out of it.

  The lock is the kernel's (`flock`): it goes with the process, however that
  ends, and the file stays. Network file systems without locks get a warning;
  there, and between machines where NFS keeps locks to itself, one run a folder
  is the user's care. Of several processes the first keeps it.

  Yields:
    The folder, absolute.

  Raises:
    UserError: it is an address, cannot be made or written, or a run is using
      it; or the disk is full later on.
  """
  atomic.check_mounted(workdir)
  folder = pathlib.Path(workdir).expanduser().absolute()
  with contextlib.ExitStack() as stack:
    with distributed.leader_first("workdir"):
      if distributed.is_leader():
        stack.enter_context(_locked(folder))
    if not (folder / LOCK).exists():
      raise UserError(
        f"workdir {folder}: expected a folder that all processes see"
      )
    stack.enter_context(naming_refusal(folder))
    yield folder


@contextlib.contextmanager
def naming_refusal(folder: pathlib.Path) -> Iterator[None]:
  """Says in one line that the disk takes no more, whoever found out.

  Raises:
    UserError: in place of an error of any library, if the cause is a disk that
      is full, over quota or read-only.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    if refusal := atomic.find_refusal(error):
      raise UserError(
        f"cannot write {folder}: {refusal.strerror}; once it can be written "
        "the same command goes on from the last checkpoint"
      ) from error
    raise


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
  try:
    folder.mkdir(parents=True, exist_ok=True)
    # Appending truncates no line of a run that holds it.
    file = (folder / LOCK).open("a+")
  except OSError as error:
    raise UserError(
      f"workdir {folder}: expected a folder that can be written "
      f"({error.strerror or error})"
    ) from error
  with file:
    _lock(file, folder)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    scratch.clear(folder)
    yield


def _lock(file, folder: pathlib.Path) -> None:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
      _logger.warning(
        "%s cannot be locked (%s): let no second run use it",
        folder,
        error.strerror,
      )
      return
    file.seek(0)
    owner = file.read().strip() or "another process"
    raise UserError(
      f"workdir {folder} is in use by another run ({owner}): wait for it, stop "
      "it, or use another workdir"
    ) from error


def write_text(path: pathlib.Path, text: str) -> None:
  """Replaces a file of the run: whole or not at all, whenever it is killed."""
  temporary = path.with_name(f"{path.name}.tmp")
  temporary.write_text(text)
  temporary.replace(path)
