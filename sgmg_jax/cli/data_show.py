"""`sgmg data show`: draw the clips that a model sees in training."""

from __future__ import annotations

import argparse
import pathlib

from sgmg_jax import errors
from sgmg_jax.cli import arguments
from sgmg_jax.input_pipeline.sets import registry

HELP = "draw augmented training clips: masks, boxes, sentences"

EPILOG = """\
examples:
  sgmg data show refer_ytvos refer_youtube_vos --out sheet.png
  sgmg data show refcoco+ data --split val --phase eval --clips 20 --seed 3
  sgmg data show own my_data --clips 12 --frames 8
  sgmg data show refshapes

PATH holds the downloaded files, or what `sgmg data build` made of them. Each
clip shows its sentence (and, where a transform has changed it, the stored
one), the ground truth in colour, its box, and the numbers of its frames. Other
seeds show other clips and other draws of the transforms.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  arguments.add_data_set(parser, folder=True)
  parser.add_argument(
    "--phase",
    choices=("train", "eval"),
    default="train",
    help="transforms of training or of evaluation (default: %(default)s)",
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    default=pathlib.Path("clips.png"),
    help="picture to write (default: %(default)s)",
  )
  for name, default, what in (
    ("clips", 8, "number of clips"),
    ("frames", 5, "frames of a clip, where the data set has a choice"),
    ("seed", 0, "of the choice and of the transforms"),
  ):
    parser.add_argument(
      f"--{name}",
      type=int,
      default=default,
      help=f"{what} (default: {default})",
    )
  parser.add_argument(
    "--reverse",
    type=float,
    default=0.0,
    metavar="P",
    help="probability that a training clip runs backwards, as "
    "config.data.reverse (default: 0)",
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="replace the picture"
  )


def run(args: argparse.Namespace) -> int:
  from sgmg_jax.files import atomic
  from sgmg_jax.input_pipeline import seeds
  from sgmg_jax.input_pipeline.batches import loader, recipes
  from sgmg_jax.pictures import clip_sheet

  atomic.check_file(args.out)
  arguments.check_positive(args, "clips", "frames")
  if not 0 <= args.reverse <= 1:
    raise errors.UserError(f"--reverse {args.reverse}: expected 0 to 1")
  recipe = recipes.get(
    args.name, args.phase, num_frames=args.frames, reverse=args.reverse
  )
  source = registry.open_source(args.name, args.path, args.split)
  data_set = loader.DataSet(source, recipe)
  count = min(args.clips, len(data_set.samples))
  chosen = seeds.generator(args.seed).choice(
    len(data_set.samples), count, replace=False
  )
  with atomic.output(args.out, overwrite=args.overwrite) as partial:
    clips = []
    for number in map(int, chosen):
      seed = (args.seed, 0, number, 0)
      expression = data_set.samples[number].expression
      names = source.video(expression.video).frames
      example = data_set.example(number, seed)
      clip = recipe.clip(data_set.samples[number], len(names), seed)
      frames = [names[i] for i in clip.frames]
      # Pseudo-videos are made of one image.
      frames *= len(example["frames"]) // len(frames)
      name = expression.key
      if not recipe.accepts(example).any():
        name += ", never visible: training draws another clip"
      clips.append(clip_sheet.draw_clip(example, expression.text, name, frames))
    title = (
      f"{args.name} {args.split}, {args.phase}: {count} of "
      f"{len(data_set.samples)} clips, seed {args.seed}"
    )
    clip_sheet.sheet(clips, title).save(partial, format="png")
  print(f"{title}\nlook at {args.out}")
  return 0
