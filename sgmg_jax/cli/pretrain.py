"""`sgmg pretrain`: a backbone of its own for a model trained from scratch."""

from __future__ import annotations

import argparse
import logging

from sgmg_jax.cli import train
from sgmg_jax.errors import UserError

HELP = "train a backbone alone, to start the training of a model from"

EPILOG = """\
examples:
  from scratch (also what continues it after a stop):
    sgmg pretrain --config=configs/refshapes_backbone.py \\
        --workdir=runs/backbone
  then train a model that starts from it:
    sgmg train --config=configs/refshapes.py:stage=1 --workdir=runs/stage1 \\
        --config.init_from=runs/backbone/model
  smoke test:
    sgmg pretrain --config=configs/refshapes_backbone.py:runlocal \\
        --workdir=/tmp/backbone

WORKDIR then holds metrics.jsonl, TensorBoard events, checkpoints/ and model/,
the checkpoint of the backbone. Backbones trained elsewhere (Kinetics) come
from `sgmg convert`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  train.add_arguments(parser)
  parser.epilog = EPILOG


def run(args: argparse.Namespace) -> int:
  config = train.load_config(args.config, args.overrides)
  if "phases" not in config:
    raise UserError(
      f"--config {args.config}: it has no phases; for `sgmg train`?"
    )
  from sgmg_jax.inference import compilation_cache
  from sgmg_jax.training import pretrain

  logging.getLogger("sgmg_jax").setLevel(logging.INFO)
  compilation_cache.enable()
  pretrain.pretrain(config, args.workdir)
  return 0
