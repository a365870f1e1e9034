"""Checks that several commands make of their arguments."""

from __future__ import annotations

import argparse

from sgmg_jax import errors


def check_positive(args: argparse.Namespace, *names: str) -> None:
  """Checks numbers that were given.

  Raises:
    UserError: names one that is less than 1.
  """
  for name in names:
    value = getattr(args, name)
    if value is not None and value < 1:
      raise errors.UserError(f"--{name} {value}: expected >= 1")
