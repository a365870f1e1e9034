"""`sgmg data build`: store a data set as records that are fast to read."""

from __future__ import annotations

import argparse
import os
import shlex
import time

from sgmg_jax import errors
from sgmg_jax.cli import arguments

HELP = "store a downloaded data set for fast random access"

EPILOG = """\
examples:
  sgmg data build refer_ytvos --manual_dir raw/refer_youtube_vos --data_dir data
  sgmg data build a2d --manual_dir raw/a2d_sentences --data_dir gs://bucket/data
  sgmg data build own --manual_dir my_videos --data_dir data --split train
  sgmg data build refshapes --data_dir data --option num_clips=100
  on Dataflow, with the raw files where its workers can read them:
    sgmg data build mevis --manual_dir /mnt/raw/mevis --data_dir gs://b/data \\
        --beam runner=DataflowRunner,project=P,region=R,temp_location=gs://b/t

docs/data_sets.md tells where each data set is downloaded and which folders are
expected. Training also runs straight from the downloaded files.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_data_set(parser)
  parser.add_argument(
    "--manual_dir",
    metavar="FOLDER",
    help="the files as downloaded (not for refshapes)",
  )
  parser.add_argument(
    "--data_dir",
    metavar="FOLDER",
    required=True,
    help="where built data sets go: a folder, or gs://…",
  )
  parser.add_argument(
    "--split",
    type=lambda value: tuple(value.split(",")),
    default=(),
    metavar="A,B",
    help="splits to build (default: all that the data set has)",
  )
  parser.add_argument(
    "--option",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="of the reader of the raw files, such as version=2 for mevis",
  )
  parser.add_argument(
    "--beam",
    metavar="OPTIONS",
    help="run on Apache Beam with these options, comma separated; '' for its "
    "local runner",
  )


def run(args: argparse.Namespace) -> int:
  options = dict(_option(text) for text in args.option)
  beam_options = None
  if args.beam is not None:
    given = [option.strip() for option in args.beam.split(",")]
    beam_options = [f"--{option}" for option in given if option]
  # Warnings only; TensorFlow is imported below and nowhere else.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  from sgmg_jax.input_pipeline.built import build

  start = time.monotonic()
  built = build.build(
    args.name,
    args.manual_dir,
    args.data_dir,
    splits=args.split,
    options=options,
    beam_options=beam_options,
  )
  seconds = time.monotonic() - start
  print(f"{'split':10}{'videos':>9}{'frames':>9}{'sentences':>11}{'files':>7}")
  for split, (videos, frames, sentences, files) in built.splits.items():
    print(f"{split:10}{videos:9}{frames:9}{sentences:11}{files:7}")
  print(
    f"{built.num_bytes / 2**20:.1f} MiB in {seconds:.0f} s\n"
    f"{args.name} is in {built.folder}; use it as data set {args.name} with "
    f"path {shlex.quote(str(args.data_dir))}"
  )
  return 0


def _option(text: str) -> tuple[str, int | str]:
  key, equals, value = text.partition("=")
  if not key or not equals:
    raise errors.UserError(f"--option {text}: expected KEY=VALUE")
  return key, int(value) if value.isdecimal() else value
