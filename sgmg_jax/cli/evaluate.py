"""`sgmg evaluate`: predict a benchmark with a checkpoint, and score it."""

from __future__ import annotations

import argparse
import os

from sgmg_jax.cli import config_files, train
from sgmg_jax.errors import UserError

HELP = "predict and score a benchmark with a checkpoint"

EPILOG = """\
examples:
  the bundled model on RefShapes:
    sgmg evaluate --config=eval/refshapes --checkpoint=refshapes-mini \\
        --out=runs/eval_refshapes
  Ref-DAVIS17, below /data as downloaded:
    sgmg evaluate --config=eval/refer_davis --checkpoint=CHECKPOINT \\
        --out=runs/eval_davis --config.data.root=/data
  the first ten videos alone:
    … --config.data.num_videos=10

OUT then holds the predicted files in the benchmark's layout, scores.json and
sentences.csv, a line for each sentence. Who stops the command and gives it
again goes on where it stopped; predictions of another checkpoint, data set or
setting are never taken for those of this one. Where the ground truth is not
public, `sgmg submit` packs OUT for the server.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--checkpoint", required=True, help="checkpoint folder or bundled name"
  )
  parser.add_argument("--out", required=True, help="folder of the predictions")
  parser.add_argument(
    "--overwrite",
    action="store_true",
    help="delete predictions of another run that lie in OUT",
  )
  train.add_processes(parser)
  train.add_config(parser, "evaluate")


def run(args: argparse.Namespace) -> int:
  config = config_files.load(args.config, args.overrides)
  config_files.check_command(config, args.config, "evaluate")
  import jax
  import tqdm

  from sgmg_jax import compilation_cache, distributed
  from sgmg_jax.checkpoints import native
  from sgmg_jax.evaluation import evaluator
  from sgmg_jax.inference import predictor

  compilation_cache.enable()
  checkpoint = native.load(args.checkpoint)
  with config_files.naming_missing_fields():
    settings = evaluator.Settings.from_config(config)
    if settings.path and not os.path.isdir(settings.path):
      raise UserError(
        f"{settings.path}: no such folder, expected the data set "
        f"{settings.name} in --config.data.root"
      )
    predictors = [
      predictor.Predictor(
        checkpoint, config.dtype, config.precision, device=device
      )
      for device in jax.local_devices()
    ]
  # None: only on a terminal.
  with tqdm.tqdm(unit="unit", smoothing=0.05, disable=None) as bar:

    def progress(number, total):
      bar.total = total
      bar.update(number)

    result = evaluator.evaluate(
      predictors,
      settings,
      args.out,
      overwrite=args.overwrite,
      progress=progress,
    )
  if distributed.is_leader():
    print(result.describe())
  return 0
