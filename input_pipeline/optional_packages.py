"""Packages that only some uses need, asked for before any work is done."""

from __future__ import annotations

import importlib.util
from typing import Final

from sgmg_jax.errors import UserError

_NAMES: Final = {"h5py": "h5py", "tensorflow": "TensorFlow"}


def require(package: str, purpose: str) -> None:
  """Checks that a package is there, without importing it.

  Args:
    package: `h5py` or `tensorflow`, of the extra `data`.
    purpose: begins the message, such as "reading A2D-Sentences".

  Raises:
    UserError: it is not installed; says how to install it.
  """
  if importlib.util.find_spec(package) is None:
    raise UserError(
      f"{purpose} needs {_NAMES[package]}: pip install {package} (part of "
      "the extra sgmg_jax[data])"
    )
