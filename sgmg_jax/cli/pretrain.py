"""`sgmg pretrain`: parts of a model that is trained from scratch."""

from __future__ import annotations

import argparse

from sgmg_jax.cli import config_files, train

HELP = "train a part of a model, to start the training of the model from"

EPILOG = """\
examples:
  from scratch (also what continues it after a stop):
    sgmg pretrain --config=refshapes_video --workdir=runs/video
  the text encoder, in minutes:
    sgmg pretrain --config=refshapes_text --workdir=runs/text
  then train a model that starts from both:
    sgmg train --config=refshapes:stage=1 --workdir=runs/stage1 \\
        --config.init_from=runs/video/model,runs/text/model \\
        --config.tokenizer.source=runs/text/tokenizer
  smoke test:
    sgmg pretrain --config=refshapes_video:runlocal \\
        --workdir=/tmp/video

WORKDIR then holds metrics.jsonl, TensorBoard events, checkpoints/ and model/,
the checkpoint of the part. Backbones and text encoders trained elsewhere
(Kinetics, RoBERTa) come from `sgmg convert`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  train.add_arguments(parser, command="pretrain")


def run(args: argparse.Namespace) -> int:
  config = config_files.load(args.config, args.overrides)
  config_files.check_command(config, args.config, "pretrain")
  from sgmg_jax.pretraining import phases

  return train.start(phases.pretrain, config, args)
