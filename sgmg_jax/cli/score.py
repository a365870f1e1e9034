"""`sgmg score`: measure masks in files against the ground truth."""

from __future__ import annotations

import argparse
import pathlib
import sys

from sgmg_jax.cli import arguments

HELP = "score masks in files, of any model, against the ground truth"

EPILOG = """\
examples:
  sgmg score refer_davis results/DVS_Annotations
  sgmg score refer_youtube_vos submission.zip --out scores
  sgmg score my_data runs/mine/Annotations --data own --split test
  sgmg score refer_davis ours.zip --compare theirs.zip --report page.html
  sgmg score coco predictions.json --data refcoco+ --split testA

TRUTH is the folder of a data set, as downloaded or built, as for training.
PREDICTIONS, of this project (`sgmg evaluate`) or another, are a folder, zip or
file:

  refer_ytvos, mevis, own  [Annotations/]<video>/<sentence>/<frame>.png
  refer_davis              [DVS_Annotations/]anno_<0..3>/<video>/<frame>.png
  a2d, jhmdb, refcoco,     JSON file of COCO results: [{"image_id",
  refcoco+, refcocog       "segmentation": RLE, "score", "bbox": x1 y1 x2 y2}]

Masks are PNG files: grey or palette, 0 and 255 or 0 and 1. What is missing,
of another size or wrongly encoded is named, and nothing is scored. The masks
of Ref-YouTube-VOS's validation split belong into valid/Annotations, as
<video>/<sentence>/<frame>.png or, where the sentences name their objects, as
label maps <video>/<frame>.png.

Writes scores.json, and sentences.csv with a line for each sentence, to --out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  from sgmg_jax.evaluation import protocols

  parser.add_argument("truth", metavar="TRUTH", help="folder of the data set")
  parser.add_argument(
    "predictions", metavar="PREDICTIONS", help="folder, zip or JSON file"
  )
  parser.add_argument(
    "--data",
    choices=sorted(protocols.PROTOCOLS),
    metavar="NAME",
    help="which data set TRUTH is (default: what its files look like)",
  )
  parser.add_argument(
    "--split", help="of it (default: the one that papers report)"
  )
  parser.add_argument(
    "--version",
    type=int,
    choices=(1, 2),
    help="of the sentences of MeViS (default: what is there, 1 of both)",
  )
  parser.add_argument(
    "--task",
    choices=("unsupervised", "semi-supervised"),
    help="of Ref-DAVIS17 (default: unsupervised, which papers report)",
  )
  parser.add_argument(
    "--allow-missing",
    action="store_true",
    help="count masks that are missing as empty ones",
  )
  parser.add_argument(
    "--out", metavar="FOLDER", help="write scores.json and sentences.csv there"
  )
  parser.add_argument(
    "--compare",
    metavar="PREDICTIONS",
    help="second predictions, compared with the first sentence by sentence",
  )
  parser.add_argument(
    "--report", metavar="HTML", help="write one page with pictures there"
  )
  parser.add_argument(
    "--processes", type=int, help="that work (default: one each core)"
  )


def run(args: argparse.Namespace) -> int:
  import sgmg_jax
  from sgmg_jax.evaluation import (
    comparison,
    faults,
    gallery,
    protocols,
    report,
  )
  from sgmg_jax.evaluation import scores as scores_lib
  from sgmg_jax.files import atomic

  arguments.check_positive(args, "processes")
  if args.out:
    atomic.check_file(pathlib.Path(args.out) / scores_lib.NUMBERS_FILE)
  options = [("version", args.version)] if args.version else []
  truth = protocols.find_truth(args.truth, args.data, args.split, options)
  of_protocol = {"task": args.task} if args.task else {}
  for name, value, only in (
    ("version", args.version, "mevis"),
    ("task", args.task, "refer_davis"),
  ):
    if value and truth.name != only:
      raise sgmg_jax.UserError(
        f"--{name} {value}: for {only}, but {args.truth} is {truth.name}"
      )
  if args.report:
    atomic.check_file(args.report)

  def score(predictions):
    return protocols.score(
      truth,
      predictions,
      allow_missing=args.allow_missing,
      processes=args.processes,
      **of_protocol,
    )

  compared = None
  try:
    scores = score(args.predictions)
    # At once: the second predictions may be unusable.
    print(scores.table())
    if args.out:
      scores.save(args.out)
      print(f"written: {args.out}")
    if args.compare:
      second = score(args.compare)
      compared = comparison.compare(scores, second)
      print(f"\nsecond, {args.compare}:\n{second.table()}\n")
      print(compared.table())
  except faults.Unusable as error:
    print("\n".join(error.faults.lines()), file=sys.stderr)
    raise
  if args.report:
    page = report.render(
      scores,
      gallery.Gallery(truth, args.predictions),
      comparison=compared,
      other=gallery.Gallery(truth, args.compare) if args.compare else None,
    )
    with atomic.output(args.report, overwrite=True) as path:
      path.write_text(page, encoding="utf-8")
    print(f"written: {args.report}")
  return 0
