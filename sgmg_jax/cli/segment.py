"""`sgmg segment`: a video and sentences in, masks of the objects out."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from sgmg_jax import errors

HELP = "segment the objects that sentences refer to in a video"

EPILOG = """\
examples:
  sgmg segment --checkpoint refshapes-mini --video shapes.mp4 \\
      --expression "the red circle" --expression "the square moving left" \\
      --out out/
  sgmg segment --checkpoint my_checkpoint/ --video frames_folder/ --fps 6 \\
      --expression "a dog on the left" --out out/ --window 24 --overwrite

out/ then holds contact_sheet.png (look at it first), overlay.mp4, results.json
(scores, boxes, COCO run-length masks) and masks/ (one palette PNG per frame).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--checkpoint",
    required=True,
    help="checkpoint folder or bundled name (refshapes-mini)",
  )
  parser.add_argument(
    "--video",
    required=True,
    help="video file (mp4, avi, mov, webm, gif …), folder of images or image",
  )
  parser.add_argument(
    "--expression",
    action="append",
    required=True,
    metavar="SENTENCE",
    help="sentence that refers to one object; repeat for several",
  )
  parser.add_argument(
    "--out", required=True, type=pathlib.Path, help="folder to make"
  )
  parser.add_argument(
    "--window",
    type=int,
    metavar="N",
    help="frames that the model sees at once, less needs less memory "
    "(default: the whole clip if it fits, else the checkpoint's window)",
  )
  parser.add_argument(
    "--threshold",
    type=float,
    default=0.5,
    metavar="P",
    help="probability that mask pixels exceed (default: 0.5)",
  )
  parser.add_argument(
    "--group",
    type=int,
    metavar="N",
    help="sentences that go through the model together; Fast SgMg sees the "
    "others of its group, with 1 none (default: Fast SgMg all that its card "
    "allows, SgMg 8, on a CPU 1)",
  )
  parser.add_argument(
    "--fps",
    type=float,
    help="frames per second of the overlay (default: the video's own time "
    "stamps; 10 for images)",
  )
  parser.add_argument(
    "--on_error",
    choices=("skip", "error"),
    default="skip",
    help="what a damaged frame of a video file does: skip leaves it out and "
    "names it (default), error stops without results",
  )
  parser.add_argument(
    "--overwrite",
    action="store_true",
    help="replace results of an earlier run in --out",
  )
  parser.add_argument(
    "--quiet", action="store_true", help="no progress bar and no summary"
  )


def run(args: argparse.Namespace) -> int:
  # Imported late: `sgmg --help` must not wait for JAX.
  from sgmg_jax.inference import open_video as video_lib
  from sgmg_jax.inference import predictor, results

  # What needs no model fails before the model is loaded.
  results.check_out(args.out, args.overwrite)
  video = video_lib.open_video(args.video, args.fps, args.on_error)
  model = predictor.load(args.checkpoint)
  summary = segment(
    model,
    video,
    args.expression,
    args.out,
    window=args.window,
    threshold=args.threshold,
    group=args.group,
    overwrite=args.overwrite,
    quiet=args.quiet,
  )
  if not args.quiet:
    print(f"{summary.num_frames} frames, results in {summary.path}/")
    for text, score in zip(args.expression, summary.scores):
      print(f"  score {score:.2f}  {text}")
    print(f"look first at {summary.path / 'contact_sheet.png'}")
  return 0


def segment(
  model: Any,
  video: Any,
  expressions: list[str],
  out: pathlib.Path,
  *,
  quiet: bool = False,
  **options: Any,
) -> Any:
  """`Predictor.segment_to_folder` with a progress bar; returns its summary.

  Raises:
    UserError: also when memory runs out, with advice.
  """
  import jax

  try:
    with progress_bar(video.num_frames, quiet) as progress:
      return model.segment_to_folder(
        video, expressions, out, progress=progress, **options
      )
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise errors.UserError(
      "the device ran out of memory: try a smaller --window, such as 8"
    ) from error


@contextlib.contextmanager
def progress_bar(num_frames: int | None, quiet: bool) -> Iterator[Any]:
  """Yields a function that takes the (fractional) frames just done.

  The bar appears with the first call: an error before it stays one line.
  """
  import tqdm

  bars = []

  def update(frames: float) -> None:
    if not bars:
      bars.append(
        tqdm.tqdm(
          total=num_frames,
          disable=quiet,
          unit=" frames",
          # Few lines where they pile up in a log file.
          mininterval=0.2 if sys.stderr.isatty() else 10,
          bar_format=_BOUNDED if num_frames else _UNBOUNDED,
        )
      )
    bars[0].update(frames)

  try:
    yield update
  finally:
    for bar in bars:
      bar.close()


_UNBOUNDED = "{n:.0f} frames [{elapsed}, {rate_noinv_fmt}]"
_BOUNDED = (
  "{percentage:3.0f}% |{bar}| {n:.0f}/{total} frames "
  "[{elapsed}, {remaining} left, {rate_noinv_fmt}]"
)
