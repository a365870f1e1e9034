"""`sgmg train`: start a training; the same command resumes it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from sgmg_jax.cli import config_files

HELP = "train a model, or go on with a training that was interrupted"

EPILOG = """\
examples:
  from scratch (also what continues it after a stop):
    sgmg train --config=refshapes --workdir=runs/refshapes
  smoke test:
    sgmg train --config=refshapes:runlocal --workdir=/tmp/refshapes
  your own data, from a checkpoint:
    sgmg train --config=finetune_own --workdir=runs/mine \\
        --config.init_from=refshapes-mini --config.data.root=my_data
  with other values:
    sgmg train --config=refshapes --workdir=runs/long \\
        --config.total_steps=20000 --config.schedule.drop_steps="(15000,)"

WORKDIR then holds metrics.jsonl, TensorBoard events, checkpoints/ and model/,
the checkpoint that `sgmg segment` and `sgmg evaluate` take. Ctrl-C and SIGTERM
save a checkpoint first; a second one does not wait for it. One run at a time
may use a WORKDIR; on a network file system that keeps no locks, see to that
yourself.
"""


load_config = config_files.load


def add_arguments(
  parser: argparse.ArgumentParser, *, command: str = "train"
) -> None:
  parser.add_argument("--workdir", required=True, help="folder of the run")
  add_processes(parser)
  add_config(parser, command)


def add_config(parser: argparse.ArgumentParser, command: str) -> None:
  """Adds `--config`, its overrides, and `--list` of the command's configs."""
  parser.add_argument(
    "--config",
    required=True,
    metavar="NAME[:ARG]",
    help="a config of --list or a file, with arguments for its get_config "
    "(:help names them)",
  )

  class List(argparse.Action):
    def __call__(self, parser, *_):
      for name, summary in config_files.summaries(command):
        print(f"{name:18}{summary}")
      parser.exit()

  parser.add_argument(
    "--list", action=List, nargs=0, help="print the configs there are, and exit"
  )
  add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
  """Adds what `--config.key=value` sets, as `overrides`."""
  parser.set_defaults(overrides=())
  parse = parser.parse_known_args

  # argparse cannot declare options whose names are a file's business.
  def parse_known_args(args=None, namespace=None):
    args = list(sys.argv[1:] if args is None else args)
    overrides, rest = split_overrides(args)
    namespace, unknown = parse(rest, namespace)
    namespace.overrides = overrides
    return namespace, unknown

  parser.parse_known_args = parse_known_args


def add_processes(parser: argparse.ArgumentParser) -> None:
  """Adds what tells one of several processes about the others."""
  group = parser.add_argument_group(
    "several processes",
    "TPU slices and Slurm steps are found out; elsewhere all three, or\n"
    "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID",
  )
  group.add_argument("--coordinator", metavar="HOST:PORT", help="of the first")
  group.add_argument("--num_processes", type=int, metavar="N", help="in all")
  group.add_argument(
    "--process_id", type=int, metavar="I", help="of this one, from 0"
  )


def split_overrides(args: Sequence[str]) -> tuple[list[str], list[str]]:
  """Takes `--config.key=value` and `--config.key value` out of `args`."""
  overrides, rest = [], []
  remaining = iter(args)
  for arg in remaining:
    if not arg.startswith("--config."):
      rest.append(arg)
    elif "=" in arg:
      overrides.append(arg)
    else:
      overrides.append(f"{arg}={next(remaining, '')}")
  return overrides, rest


def run(args: argparse.Namespace) -> int:
  config = load_config(args.config, args.overrides)
  config_files.check_command(config, args.config, "train")
  from sgmg_jax.training import loop

  return start(loop.train, config, args)


def start(train, config, args: argparse.Namespace) -> int:
  """Calls `train(config, workdir, stop)` and returns the exit code: 1 where
  numbers stop being finite, 130 and 143 after SIGINT and SIGTERM."""
  from sgmg_jax import compilation_cache, distributed
  from sgmg_jax.training import interrupt

  # The first process says what all of them do.
  level = logging.INFO if distributed.is_leader() else logging.WARNING
  logging.getLogger("sgmg_jax").setLevel(level)
  compilation_cache.enable()
  try:
    with config_files.naming_missing_fields(), interrupt.watch() as stop:
      train(config, args.workdir, stop)
  except FloatingPointError as error:
    print(f"sgmg: error: {error}", file=sys.stderr)
    return 1
  except interrupt.Interrupted as stopped:
    print(f"sgmg: {stopped}", file=sys.stderr)
    # All processes have agreed on it.
    distributed.leave_together()
    return stopped.exit_code
  return 0
