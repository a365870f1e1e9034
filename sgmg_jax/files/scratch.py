"""Make scratch folders beside outputs; clear those of killed processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Iterator
from typing import Final

_logger = logging.getLogger(__name__)

# In each scratch folder: whose it is, and for which output. Locked (`flock`)
# as long as its process lives; the kernel frees it, however that ends.
_OWNER: Final = "owner"
_SUFFIX: Final = ".tmp"


@contextlib.contextmanager
def folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yield a folder beside `path`, gone when the block ends.

  In it, `new` is for what shall become `path`, `old` for what was there.

  Raises:
    OSError: it cannot be made.
  """
  clear(path.parent)
  made = pathlib.Path(
    tempfile.mkdtemp(
      # Short enough for a name of any length.
      prefix=f".{path.name[:40]}.",
      suffix=_SUFFIX,
      dir=path.parent,
    )
  )
  try:
    with (made / f"{_OWNER}.new").open("w") as owner:
      about = {
        "process": os.getpid(),
        "host": platform.node(),
        "output": path.name,
      }
      json.dump(about, owner, allow_nan=False)
      owner.flush()
      # File systems without locks: then nobody can tell that we are dead.
      with contextlib.suppress(OSError):
        fcntl.flock(owner, fcntl.LOCK_EX)
        # Under its name it is locked.
        os.rename(owner.name, made / _OWNER)
      yield made
  finally:
    shutil.rmtree(made, ignore_errors=True)


def clear(parent: str | os.PathLike) -> None:
  """Remove the scratch folders in `parent` of processes that are dead.

  Only those of this machine: some network file systems keep the locks of
  another to themselves. An output that was complete, and moved away from its
  place when the process was killed, goes back there.
  """
  for owner in pathlib.Path(parent).glob(f".*{_SUFFIX}/{_OWNER}"):
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
      with owner.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        about = json.load(file)
        if about["host"] == platform.node():
          _clear(owner.parent, about["output"])


def _clear(made: pathlib.Path, name: str) -> None:
  path = made.with_name(name)
  # Killed between two renames: `old` is moved when `new` is complete.
  if (made / "old").exists() and not os.path.lexists(path):
    complete = "new" if (made / "new").exists() else "old"
    os.replace(made / complete, path)
    _logger.warning("%s: finished what a killed process began", path)
  shutil.rmtree(made, ignore_errors=True)
  _logger.info("removed %s of a killed process", made)
