"""`sgmg data example`: own data to copy from."""

from __future__ import annotations

import argparse
import pathlib
import shlex

from sgmg_jax import errors
from sgmg_jax.cli import arguments, program
from sgmg_jax.files import atomic

HELP = "write a small example of own data, in the expected layout"

EPILOG = """\
examples:
  sgmg data example my_data
  sgmg data example my_data --clips 20 --size 360 640

Writes a few synthetic clips with masks and sentences in the layout of
Ref-YouTube-VOS: replace them by yours. docs/own_data.md explains each file.
"""

_CLOSING = """\
{folder}: {clips} clips to train on, {valid} to validate with. Next:
  look at   {folder}/meta_expressions/train/meta_expressions.json
            {folder}/train/JPEGImages, {folder}/train/Annotations
  check     {sgmg} data doctor {folder} --counts off
  see       {sgmg} data show own {folder} --out sheet.png
  store     {sgmg} data build own --manual_dir {folder} --data_dir data
  train     {sgmg} train --config=finetune_own --workdir=runs/mine \\
            --config.init_from=refshapes-mini --config.data.root={folder}
storing and training need TensorFlow: pip install tensorflow"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "folder", metavar="FOLDER", type=pathlib.Path, help="new folder to write"
  )
  parser.add_argument(
    "--clips", type=int, default=4, help="in split train (default: 4)"
  )
  parser.add_argument(
    "--valid", type=int, default=2, help="in split valid (default: 2)"
  )
  parser.add_argument(
    "--frames", type=int, default=8, help="of a clip (default: 8)"
  )
  parser.add_argument(
    "--size",
    type=int,
    nargs=2,
    default=(180, 320),
    metavar=("HEIGHT", "WIDTH"),
    help="pixels (default: 180 320)",
  )


def run(args: argparse.Namespace) -> int:
  from sgmg_jax.input_pipeline.refshapes import ytvos_writer

  arguments.check_positive(args, "clips", "valid", "frames")
  if args.folder.exists():
    raise errors.UserError(f"{args.folder}: exists, expected a new folder")
  height, width = args.size
  with atomic.output(args.folder) as partial:
    for split, count in (("train", args.clips), ("val", args.valid)):
      ytvos_writer.write_ytvos(
        partial,
        split,
        range(count),
        num_frames=args.frames,
        height=height,
        width=width,
      )
  folder = shlex.quote(str(args.folder))
  print(
    _CLOSING.format(
      sgmg=program.command(),
      folder=folder,
      clips=args.clips,
      valid=args.valid,
    )
  )
  return 0
