"""`sgmg eval`: measure a checkpoint on a benchmark."""

from __future__ import annotations

import argparse
import json
import pathlib

from sgmg_jax.cli import arguments

HELP = "measure a checkpoint on RefShapes"

EPILOG = """\
examples:
  sgmg eval refshapes --checkpoint refshapes-mini
  sgmg eval refshapes --checkpoint runs/refshapes/model --split val \\
      --clips 50 --out scores.json

Prints J, F and J&F in percent, J&F per kind of sentence, and "swapped": J&F of
each object against a sentence about another object of the same clip, which
must be low.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.epilog = EPILOG
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument("benchmark", choices=("refshapes",))
  parser.add_argument(
    "--checkpoint", required=True, help="checkpoint folder or bundled name"
  )
  parser.add_argument(
    "--split", choices=("train", "val", "test"), default="test"
  )
  parser.add_argument("--clips", type=int, default=500, help="default: 500")
  parser.add_argument(
    "--frames", type=int, default=6, help="of each clip (default: 6)"
  )
  parser.add_argument(
    "--size", type=int, default=160, help="height and width (default: 160)"
  )
  parser.add_argument("--out", metavar="FILE", help="also write JSON there")


def run(args: argparse.Namespace) -> int:
  import tqdm

  from sgmg_jax import compilation_cache
  from sgmg_jax.checkpoints import native
  from sgmg_jax.evaluation import refshapes
  from sgmg_jax.files import atomic
  from sgmg_jax.inference import clip_predictor
  from sgmg_jax.model import sgmg
  from sgmg_jax.training import run_tokenizer

  arguments.check_positive(args, "clips", "frames", "size")
  if args.out:
    atomic.check_file(args.out)
  compilation_cache.enable()
  checkpoint = native.load(args.checkpoint)
  sizes = checkpoint.variant
  predictor = clip_predictor.ClipPredictor(
    sgmg.SgMg(sizes),
    checkpoint.tokenizer,
    max_tokens=min(sizes.max_tokens, 64),
    on_truncation=run_tokenizer.TruncationCounter(),
  )
  with tqdm.tqdm(total=args.clips, unit="clip") as bar:
    results = refshapes.evaluate(
      predictor.with_params(checkpoint.params),
      split=args.split,
      num_clips=args.clips,
      num_frames=args.frames,
      height=args.size,
      width=args.size,
      progress=bar.update,
    )
  for name, value in results.items():
    print(f"{name:20} {value:8.2f}")
  if args.out:
    with atomic.output(args.out, overwrite=True) as path:
      pathlib.Path(path).write_text(
        json.dumps(results, indent=2, allow_nan=False) + "\n"
      )
  return 0
