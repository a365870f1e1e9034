"""`sgmg submit`: pack predicted masks for a benchmark's server."""

from __future__ import annotations

import argparse
import os
import sys

from sgmg_jax.errors import UserError

HELP = "validate masks and pack them for the server of a benchmark"

EPILOG = """\
examples:
  sgmg submit refer_youtube_vos runs/eval_ytvos --out submission.zip
  sgmg submit mevis results.zip --out submission.zip --version 2

DATA is the folder of Ref-YouTube-VOS or MeViS, as downloaded. PREDICTIONS is
what `sgmg evaluate` wrote, or any folder or zip of
[Annotations/]<video>/<sentence>/<frame>.png. Videos, sentences, frames, sizes
and encodings are checked first, and everything that is wrong is named; the zip
appears only when it is complete.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  from sgmg_jax.evaluation import submission

  parser.add_argument("folder", metavar="DATA", help="folder of the data set")
  parser.add_argument(
    "predictions", metavar="PREDICTIONS", help="folder or zip of masks"
  )
  parser.add_argument("--out", required=True, metavar="ZIP", help="to write")
  parser.add_argument(
    "--overwrite", action="store_true", help="replace the zip if it exists"
  )
  parser.add_argument(
    "--data",
    choices=sorted(submission.TOP),
    help="which data set DATA is (default: what its files look like)",
  )
  parser.add_argument("--split", help="of it (default: the server's)")
  parser.add_argument(
    "--version", type=int, choices=(1, 2), help="of the sentences of MeViS"
  )


def run(args: argparse.Namespace) -> int:
  from sgmg_jax.evaluation import (
    faults,
    parallel,
    prediction_folder,
    submission,
    truth,
  )
  from sgmg_jax.files import atomic

  if os.path.exists(args.out) and not args.overwrite:
    raise UserError(f"{args.out} exists already: --overwrite replaces it")
  atomic.check_file(args.out)
  name = args.data or truth.recognise(args.folder)
  options = [("version", args.version)] if args.version else []
  split = args.split or submission.SPLITS.get(name, "valid")
  try:
    summary = submission.pack(
      truth.Truth(name, args.folder, split, options),
      prediction_folder.predictions_in(args.predictions),
      args.out,
      overwrite=args.overwrite,
      run=parallel.with_bar(),
    )
  except faults.Unusable as error:
    print("\n".join(error.faults.lines()), file=sys.stderr)
    raise
  for note in summary.notes:
    print(f"note: {note}")
  print(
    f"written: {args.out}, {summary.masks} masks of {summary.expressions} "
    f"sentences about {summary.videos} videos"
  )
  return 0
