"""`sgmg data buckets`: choose the padded sizes of training batches."""

from __future__ import annotations

import argparse
import re
from collections import Counter

from sgmg_jax import errors
from sgmg_jax.cli import arguments
from sgmg_jax.input_pipeline.sets import registry

HELP = "choose padded sizes of training batches that waste the least"

EPILOG = """\
examples:
  sgmg data buckets refer_ytvos refer_youtube_vos
  sgmg data buckets refcoco coco --pseudo_video --most 8
  sgmg data buckets refer_ytvos --frames 720x1280
  sgmg data buckets refcoco --frames 480x640:3 --frames 640x480:1

Draws the sizes that clips have behind the training's transforms, of the frames
below PATH or of those given as HEIGHTxWIDTH:WEIGHT, and prints the buckets with
the largest share of valid pixels, for --config.data.buckets. Frames of any
other shape fit as well.
"""
# So many samples tell the sizes of frames.
_SAMPLES = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_data_set(parser, folder=True)
  parser.add_argument(
    "--frames",
    action="append",
    metavar="HxW[:WEIGHT]",
    help="size of stored frames, in place of PATH",
  )
  parser.add_argument(
    "--most", type=int, default=12, help="number of buckets (default: 12)"
  )
  parser.add_argument(
    "--pseudo_video", action="store_true", help="clips are made of images"
  )


def run(args: argparse.Namespace) -> int:
  from sgmg_jax.input_pipeline.batches import buckets, recipes

  arguments.check_positive(args, "most")
  if bool(args.frames) == bool(args.path):
    raise errors.UserError("expected PATH or --frames, one of the two")
  recipe = recipes.get(args.name, "train", pseudo_video=args.pseudo_video)
  if args.frames:
    frames = dict(map(_size_and_weight, args.frames))
  else:
    frames = _stored(args.name, args.path, args.split, recipe)
  chosen, sizes = buckets.for_frames(recipe.output_size, frames, args.most)
  share = buckets.valid_share(sizes, chosen)
  alone = buckets.valid_share(sizes, map(buckets.smallest, sizes))
  common = Counter(frames).most_common(3)
  named = ", ".join(
    f"{height}x{width} {weight / sum(frames.values()):.0%}"
    for (height, width), weight in common
  )
  print(f"frames   {len(frames)} sizes: {named}{' …' * (len(frames) > 3)}")
  print(f"valid    {share:.1%} of the pixels; {alone:.1%} with batches of one")
  print(f"--config.data.buckets='{chosen}'".replace(" ", ""))
  return 0


def _size_and_weight(text: str):
  match = re.fullmatch(r"(\d+)x(\d+)(?::(\d+(?:\.\d+)?))?", text)
  height, width, weight = match.groups() if match else (0, 0, 0)
  if not int(height) or not int(width) or not float(weight or 1):
    raise errors.UserError(
      f"--frames {text}: expected HEIGHTxWIDTH or HEIGHTxWIDTH:WEIGHT, such as "
      "720x1280:0.9"
    )
  return (int(height), int(width)), float(weight or 1)


def _stored(name, path, split, recipe) -> Counter:
  """How many clips come from frames of a size."""
  from sgmg_jax.input_pipeline.batches import loader

  source = registry.open_source(name, path, split)
  samples = loader.DataSet(source, recipe).samples
  step = -(-len(samples) // _SAMPLES)
  return Counter(
    tuple(source.video(sample.expression.video).size)
    for sample in samples[::step]
  )
