"""The h5 file of one annotated frame of A2D-Sentences.

`instance` int[N] holds instance ids, from 1 and not contiguous; `reMask`
uint8[N, W, H] their masks, transposed since they were written column by
column, and without its first axis where N = 1.
"""

from __future__ import annotations

import os
import pathlib

import numpy as np

from sgmg_jax.input_pipeline import problems


def instance_ids(path: str | os.PathLike) -> list[int]:
  """Ids of the instances annotated in the frame, in the file's order.

  Raises:
    UserError: no such file, or not such a file.
  """
  return _read(path, "instance").ravel().astype(int).tolist()


def masks(path: str | os.PathLike) -> dict[int, np.ndarray]:
  """Masks bool[H, W] of the instances annotated in the frame.

  Raises:
    UserError: no such file, or its masks do not match its ids.
  """
  ids = instance_ids(path)
  stored = _read(path, "reMask")
  if stored.ndim == 2:
    stored = stored[None]
  if stored.ndim != 3 or len(stored) != len(ids):
    raise problems.Problem(
      "mask-shape",
      f"reMask of shape {stored.shape} for {len(ids)} instances, expected "
      "(instances, width, height)",
      file=path,
    )
  if len(set(ids)) < len(ids):
    raise problems.Problem(
      "mask-shape", f"instances {ids}, expected each id once", file=path
    )
  return dict(zip(ids, stored.swapaxes(1, 2) != 0))


def _read(path: str | os.PathLike, field: str) -> np.ndarray:
  # Nothing but A2D needs it.
  import h5py

  if not pathlib.Path(path).is_file():
    raise problems.Problem(
      "mask-missing", "no such file, expected an annotated frame", file=path
    )
  try:
    with h5py.File(path, "r") as file:
      return np.asarray(file[field])
  except (OSError, KeyError, RuntimeError) as e:
    raise problems.Problem(
      "mask-corrupt", f"cannot read {field!r} ({e})", file=path
    ) from e
