"""`sgmg ablate`: train the rows of an ablation and write its table."""

from __future__ import annotations

import argparse
import pathlib
import time

from sgmg_jax.cli import arguments, train
from sgmg_jax.errors import UserError
from sgmg_jax.files import atomic, json_object

HELP = "train the rows of the paper's ablations and write their table"

EPILOG = """\
examples:
  all rows of Table 5 on RefShapes, three times:
    sgmg ablate --table 5 --seeds 3 --out runs/ablations
  parameters, operations and speed alone:
    sgmg ablate --table 6 --seeds 0 --out runs/ablations
  smoke test:
    sgmg ablate --table 5 --rows 1,6 --runlocal --repeats 0 --out /tmp/ablations

OUT then holds a folder for each run, table_5.md and table_5.json; tables share
the runs of rows that they have in common. Who stops the command and gives it
again goes on where it stopped. Parameters, operations and speed are those of
--variant with the rows' parts.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--table", required=True, choices=("5", "6", "H"), help="of the paper"
  )
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument(
    "--seeds", type=int, default=3, help="of each row (%(default)s)"
  )
  parser.add_argument(
    "--rows", default="", metavar="1,2", help="of the table (all)"
  )
  parser.add_argument(
    "--runlocal", action="store_true", help="few steps: a smoke test"
  )
  parser.add_argument(
    "--variant", default="video_swin_t", help="for the figures (%(default)s)"
  )
  parser.add_argument("--frames", type=int, default=5, help="(%(default)s)")
  parser.add_argument("--height", type=int, default=360, help="(%(default)s)")
  parser.add_argument("--width", type=int, default=640, help="(%(default)s)")
  parser.add_argument(
    "--repeats",
    type=int,
    default=5,
    help="passes that are timed; 0: none (%(default)s)",
  )
  train.add_overrides(parser)


def run(args: argparse.Namespace) -> int:
  rows = _rows(args.rows)
  arguments.check_positive(args, "frames", "height", "width")
  for name in ("seeds", "repeats"):
    if getattr(args, name) < 0:
      raise UserError(f"--{name} {getattr(args, name)}: expected >= 0")
  from sgmg_jax.bench import ablations, fixtures, report
  from sgmg_jax.bench import model as bench_model
  from sgmg_jax.training import loop

  fixtures.check(args.variant, args.height, args.width)
  options = dict(rows=rows, runlocal=args.runlocal, overrides=args.overrides)
  runs = ablations.plan(args.table, args.seeds, args.out, **options)
  for index, one in enumerate(runs):
    if one.result() is not None:
      continue
    print(f"run {index + 1} of {len(runs)}: {one.folder}", flush=True)
    start = time.monotonic()

    def train_and_save(config, workdir, stop, one=one):
      one.save(loop.train(config, workdir, stop))

    code = train.start(
      train_and_save, one.config, argparse.Namespace(workdir=one.folder)
    )
    if code:
      return code
    print(f"  {time.monotonic() - start:.0f} s", flush=True)
  # Without seeds the figures are still those of all rows.
  runs = runs or ablations.plan(args.table, 1, args.out, **options)
  setup = bench_model.Setup(
    args.variant,
    args.frames,
    args.height,
    args.width,
    repeats=args.repeats,
  )
  records = ablations.summarise(
    runs, lambda rows: ablations.work_and_speed(setup, rows)
  )
  text = ablations.markdown(records)
  content = {
    "table": args.table,
    "rows": records,
    "figures_of": {k: getattr(setup, k) for k in ("variant", "frames")}
    | {"height": args.height, "width": args.width},
    "machine": report.describe(),
  }
  args.out.mkdir(parents=True, exist_ok=True)
  path = args.out / f"table_{args.table}.md"
  with atomic.output(path, overwrite=True) as new:
    new.write_text(text + "\n")
  json_object.write(path.with_suffix(".json"), content)
  print(text)
  print(f"written: {path}")
  return 0


def _rows(text: str) -> list[int]:
  try:
    return [int(part) for part in text.split(",") if text]
  except ValueError:
    raise UserError(f"--rows {text}: expected numbers such as 1,6") from None
