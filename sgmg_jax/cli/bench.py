"""`sgmg bench`: speed and memory on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import pathlib

from sgmg_jax import errors

HELP = "measure speed and memory on this machine"

EPILOG = """\
examples:
  sgmg bench model
  sgmg bench model --variant video_swin_b --frames 36 --dtype bfloat16
  sgmg bench model --json figures.json
  sgmg bench data
  sgmg bench data --repeats 100 --json figures.json

Of the model: medians of several passes with random weights; decoding of videos
and writing of masks are not counted. Of the data: the training pipeline on
Ref-YouTube-VOS clips, from JPEG and PNG files to batches.
"""

# Those of a `Setup`; each part takes some.
_OPTIONS = (
  "variant",
  "frames",
  "height",
  "width",
  "dtype",
  "quality",
  "repeats",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.epilog = EPILOG
  parser.add_argument(
    "what",
    choices=["model", "data"],
    help="the whole model, or the training pipeline",
  )
  # Each part has its own defaults.
  parser.add_argument("--variant", help="of the model (video_swin_t)")
  parser.add_argument("--frames", type=int, help="of a clip (5)")
  parser.add_argument("--height", type=int, help="pixels (model 360, data 720)")
  parser.add_argument("--width", type=int, help="pixels (model 640, data 1280)")
  parser.add_argument(
    "--dtype",
    choices=["float32", "bfloat16"],
    help="of the model's computation (float32)",
  )
  parser.add_argument("--quality", type=int, help="of the data's JPEG (90)")
  parser.add_argument(
    "--repeats", type=int, help="passes (5), or clips of data (40)"
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the figures here"
  )


def run(args: argparse.Namespace) -> int:
  # Imported late: `sgmg --help` must not wait for it.
  from sgmg_jax.bench import machine

  part = importlib.import_module(f"sgmg_jax.bench.{args.what}")
  names = [field.name for field in dataclasses.fields(part.Setup)]
  given = {
    name: getattr(args, name)
    for name in _OPTIONS
    if getattr(args, name) is not None
  }
  for name in given.keys() - set(names):
    raise errors.UserError(f"--{name}: not an option of bench {args.what}")
  setup = part.Setup(**given)
  figures = part.measure(setup)
  report = {
    "setup": dataclasses.asdict(setup),
    "machine": machine.describe(device=args.what != "data"),
    "figures": figures,
  }
  print(machine.as_text(report))
  if args.json:
    args.json.write_text(json.dumps(report, indent=2) + "\n")
  return 0
