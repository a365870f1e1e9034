"""`sgmg bench`: speed and memory on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import platform

HELP = "measure speed and memory on this machine"

EPILOG = """\
examples:
  sgmg bench model
  sgmg bench model --variant video_swin_b --frames 36 --dtype bfloat16
  sgmg bench model --json figures.json

Medians of several passes with random weights; decoding of videos and writing
of masks are not counted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.epilog = EPILOG
  parser.add_argument("what", choices=["model"], help="the whole model")
  parser.add_argument(
    "--variant", default="video_swin_t", help="default: %(default)s"
  )
  for name, default in (("frames", 5), ("height", 360), ("width", 640)):
    parser.add_argument(
      f"--{name}", type=int, default=default, help="default: %(default)s"
    )
  parser.add_argument(
    "--dtype",
    choices=["float32", "bfloat16"],
    default="float32",
    help="of computation (default: %(default)s)",
  )
  parser.add_argument(
    "--repeats", type=int, default=5, help="passes (default: %(default)s)"
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the figures here"
  )


def run(args: argparse.Namespace) -> int:
  import jax

  from sgmg_jax.bench import model

  names = [field.name for field in dataclasses.fields(model.Setup)]
  setup = model.Setup(**{name: getattr(args, name) for name in names})
  figures = model.measure(setup)
  report = {
    "setup": dataclasses.asdict(setup),
    "machine": {
      "device": jax.devices()[0].device_kind,
      "processor": platform.processor() or platform.machine(),
      "cores": os.cpu_count(),
      "jax": jax.__version__,
    },
    "figures": figures,
  }
  for part in ("machine", "setup", "figures"):
    print(part)
    for name, value in report[part].items():
      shown = f"{value:.3f}" if isinstance(value, float) else value
      print(f"  {name:22}{shown}")
  if args.json:
    args.json.write_text(json.dumps(report, indent=2) + "\n")
  return 0
