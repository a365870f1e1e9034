"""`sgmg data doctor`: find what is wrong with data before training does."""

from __future__ import annotations

import argparse
import json
import pathlib

from sgmg_jax.files import atomic

HELP = "check data sets: missing, broken, mismatched, duplicate, leaking"

EPILOG = """\
examples:
  sgmg data doctor refer_youtube_vos --report report.html
  sgmg data doctor my_data --counts off
  sgmg data doctor refer_youtube_vos refer_davis mevis     also between them
  sgmg data doctor coco --fast

Own data lies as Ref-YouTube-VOS does. Everything is decoded unless --fast is
given, which reads headers and ends of files only and compares no content.

Exit code 0: no error (there may be warnings); 1: errors; 2: bad arguments.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  from sgmg_jax.input_pipeline.doctor import counts, examination

  parser.add_argument(
    "paths",
    nargs="+",
    type=pathlib.Path,
    metavar="PATH",
    help="folder of a data set; several are checked for leaks between them",
  )
  parser.add_argument(
    "--name",
    choices=sorted(examination.NAMES),
    help="which data set it is (default: what its files look like)",
  )
  parser.add_argument(
    "--fast", action="store_true", help="check existence and headers only"
  )
  parser.add_argument(
    "--counts",
    choices=counts.POLICIES,
    default="auto",
    help="another number of videos or sentences than published: auto: an "
    "error if within 10%% of it, since the whole set is meant, otherwise a "
    "warning; strict: an error; off: not checked (default: %(default)s)",
  )
  parser.add_argument(
    "--report", type=pathlib.Path, metavar="FILE", help="write an HTML page"
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write all findings"
  )
  parser.add_argument(
    "--examples",
    type=int,
    default=12,
    help="pictures of each data set on the page (default: %(default)s)",
  )
  parser.add_argument(
    "--workers", type=int, help="threads (default: one each core)"
  )


def run(args: argparse.Namespace) -> int:
  import sgmg_jax
  from sgmg_jax.input_pipeline.doctor import examination, page, table

  for path in (args.report, args.json):
    if path is not None:
      if not path.absolute().parent.is_dir():
        raise sgmg_jax.UserError(f"{path}: no such folder {path.parent}")
      atomic.check_file(path)
  for name in ("workers", "examples"):
    value = getattr(args, name)
    if value is not None and value < (name == "workers"):
      raise sgmg_jax.UserError(f"--{name} {value}: expected a positive number")
  report = examination.examine(
    args.paths,
    name=args.name,
    fast=args.fast,
    policy=args.counts,
    workers=args.workers,
  )
  print(table.render(report))
  if args.report:
    _write(args.report, page.render(report, args.examples))
  if args.json:
    content = json.dumps(
      table.to_json(report), indent=1, ensure_ascii=False, allow_nan=False
    )
    _write(args.json, content + "\n")
  return 1 if report.all_findings().number("error") else 0


def _write(path: pathlib.Path, text: str) -> None:
  """Write a report whole or not at all."""
  with atomic.output(path, overwrite=True) as partial:
    # Names of files that are not valid text must not stop the report.
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
  print(f"written: {path}")
