"""`sgmg data COMMAND …`: build, check, look at data sets."""

from __future__ import annotations

import argparse
import importlib
import types
from typing import Final

HELP = "build, check and look at data sets"

# Modules data_<name>.py beside this one: HELP, add_arguments(parser),
# run(args) -> int, as in `main.py`.
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
  parser.epilog = EPILOG
  commands = parser.add_subparsers(
    dest="data_command", metavar="COMMAND", required=True
  )
  for name in COMMANDS:
    command = _command(name)
    command.add_arguments(
      commands.add_parser(
        name,
        help=command.HELP,
        description=command.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
      )
    )


def run(args: argparse.Namespace) -> int:
  return _command(args.data_command).run(args)


def _command(name: str) -> types.ModuleType:
  return importlib.import_module(f"sgmg_jax.cli.data_{name}")
