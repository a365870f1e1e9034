"""The lasting part of a run in a bucket of Google Cloud Storage.

The workdir of a run whose machine may vanish is a local folder. What must
outlive it lies under `config.checkpoint_dir`, by the names it has in a workdir:
`checkpoints/`, which Orbax writes there itself, and copies of what a fresh
workdir needs to go on and of the exported models.
"""

from __future__ import annotations

import logging
import os
import pathlib
import re
from typing import Final

from etils import epath

from sgmg_jax import distributed
from sgmg_jax.errors import UserError, first_line
from sgmg_jax.files import atomic

# Or paths would go through TensorFlow where it is installed, with another way
# to find credentials and addresses. Asked at the first path of the process.
os.environ.setdefault("EPATH_USE_TF", "false")

_PREFIX: Final = "gs://"
# Tries to reach the bucket at the start; a pod's network may come up late.
_SECONDS: Final = 30
# Makes a model's folder complete.
_LAST: Final = "card.json"


class Mirror:
  """Copies between the workdir of a run and its place in a bucket.

  Attributes:
    folder: in the bucket.
  """

  def __init__(self, workdir: pathlib.Path, address: str):
    self._workdir, self.folder = workdir, epath.Path(address)

  def push(self, *names: str) -> None:
    """Copies files and folders of the workdir, those that there are.

    A folder of that name gets the same files, the card of a model last; files
    that it has no more go.
    """
    for name in names:
      local, remote = self._workdir / name, f"{self.folder}/{name}"
      files = {f"{remote}": local} if local.is_file() else {}
      for path in sorted(local.rglob("*")):
        if path.is_file():
          files[f"{remote}/{path.relative_to(local).as_posix()}"] = path
      for last in (False, True):
        part = [k for k, v in files.items() if (v.name == _LAST) == last]
        if part:
          _files().put([str(files[k]) for k in part], part)
      stale = set(_find(remote)) - {k.removeprefix(_PREFIX) for k in files}
      if files and stale:
        _files().rm(sorted(stale))

  def pull(self, *names: str) -> None:
    """Replaces files and folders of the workdir by those in the bucket."""
    for name in names:
      remote = f"{self.folder}/{name}"
      if not (found := _find(remote)):
        continue
      with atomic.output(self._workdir / name, overwrite=True) as new:
        start = remote.removeprefix(_PREFIX)
        _files().get(
          list(found), [f"{new}{path.removeprefix(start)}" for path in found]
        )

  def refuse_other_checkpoints(self) -> None:
    """Raises a UserError if the workdir has checkpoints: the bucket, where the
    run looks for them, has none."""
    others = self._workdir / "checkpoints"
    if others.is_dir() and any(others.iterdir()):
      raise UserError(
        f"checkpoint_dir: {self.folder} has no checkpoints, {others} has: copy "
        f"them (gcloud storage cp -r {others} {self.folder}) or use another "
        "workdir"
      )


def connect(address: str, workdir: pathlib.Path) -> Mirror | None:
  """Finds out whether a bucket can be used, and fetches the run's tokenizer.

  Args:
    address: `config.checkpoint_dir`, "gs://bucket/folder"; "": none.
    workdir: of the run.

  Raises:
    UserError: it is no such address, packages are missing, or the bucket cannot
      be read and written (no network, no credentials, no such bucket).
  """
  if not address:
    return None
  if not re.fullmatch(f"{_PREFIX}[a-z0-9][-a-z0-9._]+(/[^/]+)+/?", address):
    raise UserError(
      "checkpoint_dir: expected a folder of a bucket, such as "
      f"gs://bucket/run, got {address!r}"
    )
  try:
    import fsspec
    import gcsfs  # noqa: F401
    from google.cloud import storage
  except ImportError as error:
    raise UserError(
      f"checkpoint_dir: {error.name} is missing, expected the packages of "
      'buckets: pip install "sgmg_jax[gcs]"'
    ) from error
  # Arrays are written by another library: a listing kept would lack them.
  fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
  # It warns at each access about buckets that it takes to be ordinary.
  logging.getLogger("gcsfs").setLevel(logging.ERROR)
  mirror = Mirror(workdir, address.rstrip("/"))
  with distributed.leader_first("checkpoint_dir"):
    if distributed.is_leader():
      try:
        retry = storage.retry.DEFAULT_RETRY.with_timeout(_SECONDS)
        name = address.removeprefix(_PREFIX).partition("/")[0]
        # Orbax asks for it, too, with retries that say nothing for minutes.
        storage.Client().get_bucket(name, retry=retry)
        probe = mirror.folder / ".probe"
        probe.write_text("Written at the start of a run\n")
        probe.unlink()
        mirror.pull("tokenizer")
      except UserError:
        raise
      except Exception as error:
        raise UserError(
          f"checkpoint_dir: {address} cannot be read and written "
          f"({type(error).__name__}: {first_line(error, 160)})"
        ) from error
  return mirror


def is_bucket(path: str | os.PathLike) -> bool:
  return os.fspath(path).startswith(_PREFIX)


def digests(folder: str | os.PathLike, subfolder: str = "") -> dict[str, str]:
  """Checksums that the bucket keeps of its objects, all below a folder: a
  listing, without reading them.

  Returns:
    CRC32C in base64 by path relative to `folder`.
  """
  start = len(os.fspath(folder).removeprefix(_PREFIX)) + 1
  found = _find(os.fspath(epath.Path(folder) / subfolder))
  return {path[start:]: info["crc32c"] for path, info in found.items()}


def _find(address: str) -> dict[str, dict[str, str]]:
  """All objects there, by path without gs://; none is no error."""
  return _files().find(address, detail=True)


def _files():
  import fsspec

  return fsspec.filesystem("gs")
