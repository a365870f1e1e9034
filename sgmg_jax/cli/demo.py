"""`sgmg demo`: unseen synthetic clips, segmented and scored, start to end."""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from sgmg_jax import errors
from sgmg_jax.cli import arguments, program

HELP = "segment made-up clips with the bundled model and look at the result"

EPILOG = """\
examples:
  sgmg demo
  sgmg demo --clips 2 --out /tmp/demo
  sgmg demo --checkpoint runs/refshapes/model --first 100

Renders RefShapes test clips to mp4 files, runs `sgmg segment` on each, and
compares the masks with the truth.
"""

_FPS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--checkpoint",
    default="refshapes-mini",
    help="checkpoint folder or bundled name (default: refshapes-mini)",
  )
  parser.add_argument(
    "--out",
    type=pathlib.Path,
    default=pathlib.Path("demo"),
    help="folder for videos and results (default: demo)",
  )
  parser.add_argument(
    "--clips", type=int, default=3, help="number of clips (default: 3)"
  )
  parser.add_argument(
    "--first", type=int, default=0, help="index of the first clip (default: 0)"
  )
  parser.add_argument(
    "--expressions",
    type=int,
    default=4,
    help="most sentences per clip (default: 4)",
  )
  parser.add_argument(
    "--frames", type=int, default=6, help="frames per clip (default: 6)"
  )
  parser.add_argument(
    "--size", type=int, default=320, help="pixels a side (default: 320)"
  )
  parser.add_argument(
    "--overwrite",
    action="store_true",
    help="replace the results of an earlier demo in --out",
  )


def run(args: argparse.Namespace) -> int:
  from sgmg_jax.checkpoints import native
  from sgmg_jax.input_pipeline.refshapes import dataset

  arguments.check_positive(args, "clips", "expressions")
  if not args.overwrite and args.out.is_dir() and any(args.out.iterdir()):
    raise errors.UserError(
      f"out {args.out}: the folder is not empty; --overwrite replaces the "
      "results of an earlier demo in it"
    )
  # Before there are videos, which would ask for --overwrite the next time.
  native.load(args.checkpoint)
  scores = []
  folders = []
  for index in range(args.first, args.first + args.clips):
    clip = dataset.generate_clip(
      "test",
      index,
      num_frames=args.frames,
      height=args.size,
      width=args.size,
    )
    expressions = _choose(clip.expressions, args.expressions)
    video = args.out / "videos" / f"{clip.name}.mp4"
    _write_video(video, clip.frames)
    folder = args.out / "results" / clip.name
    _segment(args.checkpoint, video, expressions, folder)
    scores += _score(folder, clip.masks, expressions)
    folders.append(folder)
  _write_sheet(args.out / "contact_sheet.png", folders)
  mean = sum(scores) / len(scores)
  print(f"\nmean J&F of {len(scores)} sentences: {mean:.1f}")
  values = {"out": args.out, "checkpoint": args.checkpoint, "video": video}
  quoted = {name: shlex.quote(str(value)) for name, value in values.items()}
  print(_CLOSING.format(sgmg=program.command(), **quoted))
  return 0


_CLOSING = """
look at
  {out}/contact_sheet.png          all clips, a row for each sentence
  {out}/results/*/overlay.mp4      the masks in motion
  {out}/videos/                    the clips themselves

try next
  your own sentence:
    {sgmg} segment --checkpoint {checkpoint} --video {video} \\
        --expression "the red circle" --out {out}/mine --overwrite
  your own video: the bundled model knows only such shapes; turn the released
  SgMg weights into a checkpoint first ({sgmg} convert --help), then
    {sgmg} segment --checkpoint my_checkpoint/ --video my_video.mp4 \\
        --expression "the dog on the left" --out my_results"""


def _choose(expressions: Sequence[Any], count: int) -> list[Any]:
  """`count` expressions: new objects first, then new kinds of sentences."""
  chosen = []
  left = list(expressions)
  while left and len(chosen) < count:
    objects = [e.object_index for e in chosen]
    kinds = [e.kind for e in chosen]
    # Stable: the generator's order among equals.
    best = min(
      left,
      key=lambda e: (objects.count(e.object_index), kinds.count(e.kind)),
    )
    left.remove(best)
    chosen.append(best)
  return chosen


def _write_video(path: pathlib.Path, frames: Any) -> None:
  from sgmg_jax.pictures import video_writer

  try:
    path.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise errors.UserError(
      f"--out: cannot make {path.parent} ({error.strerror})"
    ) from error
  with video_writer.VideoWriter(path, _FPS) as writer:
    for frame in frames:
      writer.write(frame)


def _segment(checkpoint, video, expressions, folder) -> None:
  """Runs the public command, and shows it."""
  from sgmg_jax.cli import segment

  words = ["--checkpoint", checkpoint, "--video", str(video)]
  for expression in expressions:
    words += ["--expression", expression.text]
  words += ["--out", str(folder)]
  shown = " ".join(map(shlex.quote, words))
  print(f"\n$ {program.command()} segment {shown}", flush=True)
  parser = argparse.ArgumentParser()
  segment.add_arguments(parser)
  # The demo itself has asked whether it may replace earlier results.
  segment.run(parser.parse_args([*words, "--overwrite"]))


def _score(folder: pathlib.Path, truth: Any, expressions) -> list[float]:
  """Prints J and F of a result folder; returns J&F of each expression."""
  import numpy as np

  from sgmg_jax.evaluation import measures
  from sgmg_jax.inference import results

  saved = json.loads((folder / "results.json").read_text())
  scores = []
  print("   J&F     J     F  against the truth")
  for expression, entry in zip(expressions, saved["expressions"]):
    masks = np.stack([results.decode_rle(f["rle"]) for f in entry["frames"]])
    target = truth[expression.object_index]
    counts = measures.count_frames(masks, target)
    j, f = 100 * counts.region.mean(), 100 * counts.boundary.mean()
    scores.append(float(j + f) / 2)
    print(f"  {scores[-1]:5.1f} {j:5.1f} {f:5.1f}  {expression.text}")
  return scores


def _write_sheet(path: pathlib.Path, folders: Sequence[pathlib.Path]) -> None:
  import PIL.Image

  from sgmg_jax.files import atomic
  from sgmg_jax.pictures import overlay

  sheets = [PIL.Image.open(f / "contact_sheet.png") for f in folders]
  with atomic.output(path, overwrite=True) as partial:
    overlay.stack_sheets(sheets).save(partial, format="png")
