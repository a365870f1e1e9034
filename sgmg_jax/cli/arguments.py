"""Arguments that several commands have, and checks of them."""

from __future__ import annotations

import argparse
import types
from typing import Any

from sgmg_jax import errors


def about(command: types.ModuleType) -> dict[str, Any]:
  """Makes the options of a command's parser."""
  return {
    "description": command.HELP,
    "epilog": command.EPILOG,
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "allow_abbrev": False,
  }


def add_data_set(
  parser: argparse.ArgumentParser, *, folder: bool = False
) -> None:
  """Adds the name of a data set and, with `folder`, its path and split."""
  from sgmg_jax.input_pipeline.sets import registry

  parser.add_argument(
    "name",
    metavar="NAME",
    choices=registry.NAMES,
    help=f"one of {', '.join(registry.NAMES)}",
  )
  if folder:
    parser.add_argument("path", metavar="PATH", nargs="?", help="its folder")
    parser.add_argument("--split", default="train", help="default: %(default)s")


def check_positive(args: argparse.Namespace, *names: str) -> None:
  """Checks numbers that were given.

  Raises:
    UserError: names one that is less than 1.
  """
  for name in names:
    value = getattr(args, name)
    if value is not None and value < 1:
      raise errors.UserError(f"--{name} {value}: expected >= 1")
