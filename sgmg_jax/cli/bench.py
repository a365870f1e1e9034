"""`sgmg bench`: speed and memory on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import pathlib

from sgmg_jax import errors
from sgmg_jax.cli import arguments
from sgmg_jax.files import atomic, json_object

HELP = "measure speed and memory on this machine"

EPILOG = """\
examples:
  sgmg bench model
  sgmg bench model --variant video_swin_b --frames 36 --dtype bfloat16
  sgmg bench model --json figures.json
  sgmg bench model --breakdown
  sgmg bench expressions --figure sentences.png
  sgmg bench kernels
  sgmg bench kernels --dtype bfloat16 --json figures.json
  sgmg bench kernels --explain
  sgmg bench startup
  sgmg bench segment --dtype bfloat16
  sgmg bench training --remat
  sgmg bench training --breakdown
  sgmg bench data --repeats 100
  sgmg bench metrics --videos 30

model: medians of several passes with random weights; decoding of videos and
writing of masks are not counted. expressions: several sentences about a video,
SgMg beside Fast SgMg. kernels: deformable attention at the model's
shapes, against PyTorch where it is installed. startup: from the start of
`sgmg segment` to the first mask. segment: from a video file to mask files.
training: a step of the paper's training. data: the training pipeline on
Ref-YouTube-VOS clips, from JPEG and PNG files to batches. metrics: J and F
against davis2017-evaluation (with OpenCV where it is installed), and scoring
of a data set of the size of DAVIS 2017 val from files.
"""

_PARTS = (
  "model",
  "expressions",
  "kernels",
  "startup",
  "segment",
  "training",
  "data",
  "metrics",
)
# What a part may offer instead of `measure`.
_INSTEAD = ("breakdown", "explain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "what",
    choices=_PARTS,
    help="the whole model, several sentences, its deformable attention, the "
    "first answer, whole videos, the training step, the training pipeline, or "
    "scoring",
  )
  # Each part has its own defaults.
  parser.add_argument(
    "--variant", help="of the model (video_swin_t; startup: three of them)"
  )
  parser.add_argument(
    "--frames", type=int, help="of a clip (5; segment: 36; metrics: 70)"
  )
  parser.add_argument("--height", type=int, help="pixels (360, data 720)")
  parser.add_argument("--width", type=int, help="pixels (640, data 1280)")
  parser.add_argument(
    "--dtype",
    choices=["float32", "bfloat16"],
    help="of the model's computation (float32)",
  )
  parser.add_argument(
    "--precision",
    choices=["highest", "default"],
    help="of float32 products on accelerators (highest)",
  )
  parser.add_argument(
    "--remat",
    nargs="?",
    const="blocks",
    choices=["none", "blocks", "dots"],
    help="of training: compute blocks again in the backward pass, all of them "
    "or (dots) all but products with weights",
  )
  parser.add_argument("--quality", type=int, help="of the data's JPEG (90)")
  parser.add_argument(
    "--repeats",
    type=int,
    help="passes (5, kernels 10), clips of data (40), or pairs of masks (20)",
  )
  parser.add_argument(
    "--videos", type=int, help="of the metrics' data set (3; whole: 30)"
  )
  parser.add_argument(
    "--counts",
    metavar="N,N",
    help="of expressions: sentences asked together (1,2,4,6,8,10)",
  )
  parser.add_argument(
    "--figure",
    metavar="FILE",
    help="of expressions: draw frames x sentences a second, a PNG",
  )
  parser.add_argument(
    "--breakdown",
    action="store_true",
    help="of the model or training: time and work of each part",
  )
  parser.add_argument(
    "--explain",
    action="store_true",
    help="of the kernels: which is chosen where and why, instead of timing",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the figures here"
  )


def run(args: argparse.Namespace) -> int:
  # Imported late: `sgmg --help` must not wait for it.
  from sgmg_jax.bench import report as report_lib

  if args.json:
    atomic.check_file(args.json)
  arguments.check_positive(
    args, "frames", "height", "width", "repeats", "videos"
  )
  if args.quality is not None and not 1 <= args.quality <= 100:
    raise errors.UserError(f"--quality {args.quality}: expected 1 to 100")

  part = importlib.import_module(f"sgmg_jax.bench.{args.what}")
  names = [field.name for field in dataclasses.fields(part.Setup)]
  given = {
    name: value
    for name, value in vars(args).items()
    if value is not None and name not in ("what", "json", *_INSTEAD)
  }
  for name in given.keys() - set(names):
    raise errors.UserError(f"--{name}: not an option of bench {args.what}")
  setup = part.Setup(**given)
  measure = part.measure
  for name in _INSTEAD:
    if getattr(args, name):
      if not hasattr(part, name):
        raise errors.UserError(f"--{name}: not an option of bench {args.what}")
      measure = getattr(part, name)
  figures = measure(setup)
  report = {
    "setup": dataclasses.asdict(setup),
    "machine": report_lib.describe(device=args.what not in ("data", "metrics")),
    "figures": figures,
  }
  print(report_lib.as_text(report))
  if args.json:
    json_object.write(args.json, report)
  return 0
