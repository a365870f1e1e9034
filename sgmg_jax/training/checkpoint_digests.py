"""Digests of a training checkpoint, kept in its folder, and their check."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Final

from etils import epath

from sgmg_jax.errors import UserError
from sgmg_jax.files import digests
from sgmg_jax.training import bucket, workdir

_logger = logging.getLogger(__name__)

# The folders of a checkpoint.
ITEMS: Final = ("state", "data")
FILE: Final = "digests.json"
# Says in a checkpoint's own metadata that its digests belong to it, so that
# one without is told from one older than they are.
PROMISE: Final = {"digests": FILE}
# Orbax' notes, which it writes again after the digests.
_METADATA: Final = "_CHECKPOINT_METADATA"
# A bucket renames nothing: a checkpoint with this file is complete, and Orbax
# removes others.
_COMMITTED: Final = re.compile("([0-9]+)/commit_success.txt")


def write(folder: epath.Path) -> None:
  """Notes the digests of a checkpoint."""
  found = {}
  for item in ITEMS:
    found |= _digests(folder, item)
  text = json.dumps(found, indent=1, allow_nan=False) + "\n"
  if bucket.is_bucket(folder):
    # An object is there whole or not at all.
    (folder / FILE).write_text(text)
  else:
    workdir.write_text(folder / FILE, text)


def _digests(folder: epath.Path, item: str = "") -> dict[str, str]:
  if bucket.is_bucket(folder):
    return bucket.digests(folder, item)
  return digests.of_folder(folder, item)


def find_damage(folder: epath.Path) -> list[str] | None:
  """Faults of a checkpoint; empty: there are none, None: it is older than
  digests, so nobody knows."""
  # Not `exists`: of a bucket that does not answer it says no.
  names = {path.name for path in folder.iterdir()}
  if FILE not in names:
    missing = [item for item in ITEMS if item not in names]
    if _is_promised(folder):
      missing.append(FILE)
    return [f"{name} is missing" for name in missing] or None
  try:
    expected = json.loads((folder / FILE).read_text())
    found = _digests(folder)
    return digests.differences(expected, found)
  except (ValueError, AttributeError, OSError) as error:
    if bucket.is_bucket(folder) and isinstance(error, OSError):
      # The network, not the checkpoint.
      raise
    return [f"it cannot be read ({error})"]


def _is_promised(folder: epath.Path) -> bool:
  try:
    metadata = json.loads((folder / _METADATA).read_text())
    return metadata["custom_metadata"].get("digests") == FILE
  except OSError:
    return False
  except (ValueError, LookupError, TypeError, AttributeError):
    # Damaged notes: no reason to trust the rest.
    return True


def find_intact(checkpoints: str | os.PathLike) -> int | None:
  """The step of the newest checkpoint that is intact; None without any.

  Damaged ones that are newer get the ending `.damaged` and a line each.

  Raises:
    UserError: all that there are, are damaged.
  """
  folder = epath.Path(checkpoints)
  damaged = []
  for step in sorted(_steps(folder), reverse=True):
    damage = find_damage(folder / str(step))
    if damage is None:
      _logger.warning(
        "%s is older than digests: not checked for damage", folder / str(step)
      )
    if not damage:
      for other, reasons in damaged:
        aside = _set_aside(folder / str(other))
        _logger.warning(
          "%s is damaged (%s): now %s; using %s",
          folder / str(other),
          _first(reasons),
          aside.name,
          step,
        )
      return step
    damaged.append((step, damage))
  if damaged:
    step, reasons = damaged[0]
    raise UserError(
      f"{folder / str(step)} is damaged ({_first(reasons)}) and no earlier "
      f"checkpoint is intact: use another workdir, or remove {folder} to start "
      "from the beginning"
    )
  return None


def _steps(folder: epath.Path) -> list[int]:
  if bucket.is_bucket(folder):
    found = map(_COMMITTED.fullmatch, bucket.digests(folder))
    return [int(match[1]) for match in found if match]
  if not folder.is_dir():
    return []
  names = [path.name for path in folder.iterdir() if path.is_dir()]
  return [int(name) for name in names if name.isascii() and name.isdigit()]


def _first(reasons: list[str]) -> str:
  more = f", {len(reasons) - 1} more" if len(reasons) > 1 else ""
  return reasons[0] + more


def _set_aside(folder: epath.Path) -> epath.Path:
  """Renames to `<name>.damaged`, or `.damaged2`, ... where that exists."""
  number = 1
  while True:
    ending = f".damaged{number if number > 1 else ''}"
    aside = folder.with_name(folder.name + ending)
    if not aside.exists():
      return folder.rename(aside)
    number += 1
