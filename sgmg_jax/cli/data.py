"""`sgmg data COMMAND …`: build, check, look at data sets."""

from __future__ import annotations

import argparse
import importlib
import types
from typing import Final

from sgmg_jax.cli import arguments

HELP = "build, check and look at data sets"

# Modules data_<name>.py beside this one, with the contents of those of `main`.
COMMANDS: Final = ("build", "doctor", "show", "buckets", "example")

EPILOG = """\
examples:
  sgmg data example my_data
  sgmg data doctor refer_youtube_vos --report report.html
  sgmg data show refer_ytvos refer_youtube_vos --out sheet.png
  sgmg data buckets refer_ytvos refer_youtube_vos
  sgmg data build refer_ytvos --manual_dir refer_youtube_vos --data_dir built

`sgmg data COMMAND --help` has more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  commands = parser.add_subparsers(
    dest="data_command", metavar="COMMAND", required=True
  )
  for name in COMMANDS:
    command = _command(name)
    command.add_arguments(
      commands.add_parser(name, help=command.HELP, **arguments.about(command))
    )


def run(args: argparse.Namespace) -> int:
  return _command(args.data_command).run(args)


def _command(name: str) -> types.ModuleType:
  return importlib.import_module(f"sgmg_jax.cli.data_{name}")
