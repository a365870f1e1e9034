"""Outputs that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from sgmg_jax import errors


@contextlib.contextmanager
def output(
  path: str | os.PathLike, *, overwrite: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a temporary path that becomes `path` when the block succeeds.

  The block makes a file or a directory there. If it raises, the temporary
  output goes and whatever was at `path` stays.

  Raises:
    UserError: `path` exists and `overwrite` is not set, or its parent cannot
      be written.
  """
  path = pathlib.Path(path).expanduser().absolute()
  if path.exists() and not overwrite:
    raise errors.UserError(f"{path} exists already: choose another name")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: only there is a rename one atomic step.
    scratch = pathlib.Path(
      tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    )
  except OSError as error:
    raise errors.UserError(
      f"cannot write {path}: {error.strerror or error}"
    ) from error
  try:
    new, old = scratch / "new", scratch / "old"
    yield new
    if path.exists():
      os.replace(path, old)
    try:
      os.replace(new, path)
    except BaseException:
      if old.exists():
        os.replace(old, path)
      raise
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
