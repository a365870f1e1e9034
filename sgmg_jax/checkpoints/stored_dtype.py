"""Cast parameters for storage; refuse values that no model can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from flax import traverse_util

from sgmg_jax import errors

# Narrower ones would truncate what the models learned.
DTYPES = {
  "float32": np.dtype(np.float32),
  "bfloat16": np.dtype(ml_dtypes.bfloat16),
  "float16": np.dtype(np.float16),
}
_FLOATS = {*DTYPES.values(), np.dtype(np.float64)}

Path = tuple[str, ...]


def check_dtype(dtype: str, field: str) -> None:
  """Raise a UserError that names `field` unless it is one of `DTYPES`."""
  if dtype not in DTYPES:
    raise errors.UserError(
      f"{field} is {dtype!r}, expected one of {', '.join(DTYPES)}"
    )


def cast(params: Mapping, dtype: str, source: object) -> dict[str, Any]:
  """Parameters as numpy arrays of one of `DTYPES`.

  Raises:
    UserError: another dtype, or values too large for it (lists every
      parameter that has any).
  """
  check_dtype(dtype, "dtype")
  flat = {
    path: np.asarray(leaf)
    for path, leaf in traverse_util.flatten_dict(params).items()
  }
  check(params, source)
  with np.errstate(over="ignore"):
    new = {path: leaf.astype(DTYPES[dtype]) for path, leaf in flat.items()}
  overflows = [
    f"{'/'.join(path)} (up to {np.abs(flat[path]).max():.3g})"
    for path, leaf in new.items()
    if not np.isfinite(leaf).all()
  ]
  if overflows:
    raise errors.UserError(
      f"{source} does not fit into {dtype}, use another dtype; too large: "
      f"{', '.join(overflows)}"
    )
  return traverse_util.unflatten_dict(new)


def check(
  params: Mapping, source: object, name: Callable[[Path], str] = "/".join
) -> None:
  """Raise a UserError that lists parameters no model can have.

  Args:
    source: where they are from, for the message.
    name: what the user calls the parameter at a path.
  """
  wrong = []
  for path, leaf in traverse_util.flatten_dict(params).items():
    leaf = np.asarray(leaf)
    if leaf.dtype not in _FLOATS:
      wrong.append(f"{name(path)} is {leaf.dtype}")
    elif bad := np.size(leaf) - np.count_nonzero(np.isfinite(leaf)):
      wrong.append(f"{name(path)} has {bad} of {leaf.size}")
  if wrong:
    raise errors.UserError(
      f"{source} has NaN, infinity or other types than floating point among "
      f"its parameters: {', '.join(wrong)}"
    )
