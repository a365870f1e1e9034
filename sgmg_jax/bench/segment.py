"""Speed from a video file to mask files, as a user waits for it.

A rendered mp4 of 360x640 is decoded, segmented and written, with random
weights, which cost what trained ones do. Compilation is not counted; see
`startup` for that.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np

from sgmg_jax.bench import fixtures, model, report
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.inference import predictor, results
from sgmg_jax.pictures import colours

_SENTENCES = ("the red circle", "the square moving left")


@dataclasses.dataclass(frozen=True)
class Setup(model.Setup):
  """Set-up of `model`, with a longer clip."""

  frames: int = 36


def measure(setup: Setup) -> dict[str, Any]:
  """All figures of one set-up, medians.

  Returns:
    "mask_frames_per_second" (one sentence, from the mp4 to a PNG per frame),
    "folder_frames_per_second" (to the whole result folder of `sgmg segment`,
    with overlay video and contact sheet) and the seconds of a video's parts:
    "decode_seconds", "segment_seconds" (decoded frames to masks in memory),
    "png_seconds", "folder_seconds" (the whole), "further_sentence_seconds"
    (of a second sentence, masks in memory).

  Raises:
    UserError: no such variant, or a set-up that the model cannot run.
  """
  fixtures.check(setup.variant, setup.height, setup.width)
  size = (setup.height, setup.width)
  loaded = predictor.Predictor(
    fixtures.checkpoint(setup.variant, *size), setup.dtype, setup.precision
  )
  with tempfile.TemporaryDirectory() as folder:
    return _figures(setup, loaded, pathlib.Path(folder))


def _figures(setup, loaded, folder):
  video = folder / "clip.mp4"
  fixtures.write_video(video, setup.frames, setup.height, setup.width)
  decode = lambda: list(video_lib.open_video(video))
  frames = np.stack(decode())
  segment = lambda source, count=1: loaded.segment(source, _SENTENCES[:count])
  found = segment(frames)

  def write_masks(found):
    colour = colours.colour_of(0)
    for index, mask in enumerate(found.masks[0]):
      results.save_mask(folder / f"{index:05d}.png", mask, colour)

  def write_folder():
    loaded.segment_to_folder(
      video, _SENTENCES[:1], folder / "out", overwrite=True
    )

  calls = {
    "masks": lambda: write_masks(segment(video)),
    "folder": write_folder,
    "decode": decode,
    "segment": lambda: segment(frames),
    "png": lambda: write_masks(found),
    "two sentences": lambda: segment(frames, 2),
  }
  seconds = {}
  for name, call in calls.items():
    call()
    seconds[name] = report.median_seconds(call, setup.repeats)
  return {
    "mask_frames_per_second": setup.frames / seconds["masks"],
    "folder_frames_per_second": setup.frames / seconds["folder"],
    "decode_seconds": seconds["decode"],
    "segment_seconds": seconds["segment"],
    "png_seconds": seconds["png"],
    "folder_seconds": seconds["folder"],
    "further_sentence_seconds": seconds["two sentences"] - seconds["segment"],
  }
