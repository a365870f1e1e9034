"""`sgmg train`: one command trains, and the same command goes on."""

from __future__ import annotations

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from sgmg_jax.errors import UserError

HELP = "train a model, or go on with a training that was interrupted"

EPILOG = """\
examples:
  from scratch (also what continues it after a stop):
    sgmg train --config=configs/refshapes.py --workdir=runs/refshapes
  smoke test:
    sgmg train --config=configs/refshapes.py:runlocal --workdir=/tmp/refshapes
  with other values:
    sgmg train --config=configs/refshapes.py --workdir=runs/long \\
        --config.total_steps=20000 --config.schedule.drop_steps="(15000,)"

WORKDIR then holds metrics.jsonl, TensorBoard events, checkpoints/ and model/,
the checkpoint that `sgmg segment` and `sgmg eval` take.
"""


# What config files and their flags raise for bad input.
_CONFIG_ERRORS = (
  flags.Error,
  AttributeError,
  LookupError,
  TypeError,
  ValueError,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.epilog = EPILOG
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument(
    "--config",
    required=True,
    metavar="FILE[:ARG]",
    help="config file, with an argument for its get_config",
  )
  parser.add_argument("--workdir", required=True, help="folder of the run")
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


def load_config(spec: str, overrides: Sequence[str] = ()):
  """The ConfigDict of `file.py[:arg]` with `--config.key=value` flags applied.

  Raises:
    UserError: no such file, unknown key or argument, or a value of the wrong
      type.
  """
  path = spec.partition(":")[0]
  if not pathlib.Path(path).is_file():
    raise UserError(f"--config: no file {path}")
  folder = str(pathlib.Path(path).absolute().parent)
  # Config files import their neighbours.
  sys.path.insert(0, folder)
  try:
    if overrides:
      _check_names(_parse(spec, ()), overrides)
    return _parse(spec, overrides)
  finally:
    sys.path.remove(folder)


def _parse(spec: str, overrides: Sequence[str]):
  argv = ["sgmg train", f"--config={spec}", *overrides]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
    "config", flag_values=values, lock_config=True, sys_argv=argv
  )
  try:
    values(argv)
  except _CONFIG_ERRORS as error:
    reason = str(error).strip().splitlines()
    raise UserError(
      f"--config {spec}: {reason[0] if reason else type(error).__name__}"
    ) from error
  return values.config


def _check_names(config, overrides: Sequence[str]) -> None:
  """Names the unknown field and its neighbours; ml_collections does not."""
  for override in overrides:
    flag = override.partition("=")[0]
    place = config
    # Indices of tuples, as in groups[0], are left to ml_collections.
    for name in flag.removeprefix("--config.").partition("[")[0].split("."):
      known = list(place.keys()) if hasattr(place, "keys") else []
      if name not in known:
        raise UserError(
          f"{flag}: no field {name!r} there; known: {', '.join(known)}"
        )
      place = place[name]


def run(args: argparse.Namespace) -> int:
  config = load_config(args.config, args.overrides)
  if "pretrain" in config:
    raise UserError(f"--config {args.config}: it is one for `sgmg pretrain`")
  from sgmg_jax.inference import compilation_cache
  from sgmg_jax.training import loop

  logging.getLogger("sgmg_jax").setLevel(logging.INFO)
  compilation_cache.enable()
  loop.train(config, args.workdir)
  return 0
