"""`sgmg COMMAND …`: finds the command, reports bad input in one line."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import types
from collections.abc import Sequence
from typing import Final

import sgmg_jax

# Modules of this package: HELP, add_arguments(parser), run(args) -> int.
# Imported one at a time, so that `sgmg convert` does not wait for training.
COMMANDS: Final = (
  "segment",
  "demo",
  "pretrain",
  "train",
  "eval",
  "convert",
  "data",
  "bench",
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command and returns the exit code; 2 means bad input."""
  argv = list(sys.argv[1:] if argv is None else argv)
  logging.basicConfig(format="sgmg: %(levelname)s: %(message)s")
  if not argv or argv[0] not in COMMANDS:
    # Exits unless told nothing at all.
    _overview().parse_args(argv or ["--help"])
  name, *rest = argv
  command = _command(name)
  parser = argparse.ArgumentParser(
    prog=f"sgmg {name}",
    description=command.HELP,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  command.add_arguments(parser)
  try:
    return command.run(parser.parse_args(rest))
  except sgmg_jax.UserError as error:
    print(f"sgmg: error: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("sgmg: interrupted", file=sys.stderr)
    return 130


def _command(name: str) -> types.ModuleType:
  return importlib.import_module(f"sgmg_jax.cli.{name}")


def _overview() -> argparse.ArgumentParser:
  """The parser of `sgmg --help`, with each command's line."""
  commands = "\n".join(f"  {name:12}{_command(name).HELP}" for name in COMMANDS)
  parser = argparse.ArgumentParser(
    prog="sgmg",
    description=sgmg_jax.__doc__,
    epilog=f"commands:\n{commands}\n\n`sgmg COMMAND --help` has examples.",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--version", action="version", version=_version())
  parser.add_argument(
    "command", choices=COMMANDS, metavar="COMMAND", help="see below"
  )
  return parser


def _version() -> str:
  return f"sgmg_jax {sgmg_jax.__version__}"


if __name__ == "__main__":
  sys.exit(main())
