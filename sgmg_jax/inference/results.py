"""Results of a segmentation, in memory and as files.

A result folder:

  contact_sheet.png          a few frames, one row per expression
  overlay.mp4                every expression's mask in its colour
  masks/00_a_red_ball/*.png  palette PNG, 1 = object, one per frame
  results.json               scores, boxes and masks:

    {"format": 1,
     "video": {"name", "height", "width", "fps", "num_frames",
               "pixel_aspect": 1.0,      width of a pixel over its height
               "timestamps": [0.0, …],   seconds since the first frame
               "skipped_frames": []},    numbers of damaged ones
     "checkpoint": name, "threshold": 0.5,
     "expressions": [
       {"text": "a red ball", "masks": "masks/00_a_red_ball",
        "frames": [{"frame": "00000",      name of the mask file: the
                                           frame's number in the video
                    "score": 0.97,         confidence in [0, 1]
                    "box": [x1, y1, x2, y2],    pixels
                    "rle": {"size": [H, W], "counts": "..."}},  COCO RLE
                   ...],
        "score": 0.95}]}                   mean over the frames
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import PIL.Image
from pycocotools import mask as coco_mask

from sgmg_jax import errors
from sgmg_jax.files import atomic
from sgmg_jax.inference import display
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.input_pipeline import run_lengths
from sgmg_jax.pictures import colours, overlay, video_writer

FORMAT: Final = 1
_NAMES: Final = {"contact_sheet.png", "overlay.mp4", "masks", "results.json"}


@dataclasses.dataclass(frozen=True)
class WindowResult:
  """Masks of consecutive frames that the model saw together.

  Attributes:
    start: number of frames in the windows before.
    frames: T frames, each uint8[H, W, 3].
    masks: bool[E, T, H, W].
    scores: float32[E, T], the model's confidence in [0, 1].
    boxes: float32[E, T, 4], (x1, y1, x2, y2) in pixels, of the box head.
    times: T seconds since the first frame of the video.
    numbers: T frame numbers in the video, which count skipped frames.
  """

  start: int
  frames: list[np.ndarray] = dataclasses.field(repr=False)
  masks: np.ndarray = dataclasses.field(repr=False)
  scores: np.ndarray
  boxes: np.ndarray
  times: list[float]
  numbers: list[int]


@dataclasses.dataclass(frozen=True)
class Segmentation:
  """Masks of a whole video, in memory.

  Attributes:
    expressions: the E sentences.
    masks: bool[E, T, H, W].
    scores: float32[E, T], the model's confidence in [0, 1].
    boxes: float32[E, T, 4], (x1, y1, x2, y2) in pixels, of the box head.
    video: where the frames came from.
    checkpoint: name of the model.
    threshold: probability that mask pixels exceed.
    times: T seconds since the first frame.
    numbers: T frame numbers in the video, which count skipped frames.
  """

  expressions: tuple[str, ...]
  masks: np.ndarray = dataclasses.field(repr=False)
  scores: np.ndarray = dataclasses.field(repr=False)
  boxes: np.ndarray = dataclasses.field(repr=False)
  video: video_lib.VideoReader
  checkpoint: str
  threshold: float
  times: list[float] = dataclasses.field(repr=False)
  numbers: list[int] = dataclasses.field(repr=False)

  def show(self) -> None:
    """Show a few frames: in the notebook, or else in the system's viewer."""
    display.show(display.contact_sheet(self))

  def _repr_html_(self) -> str:
    sheet = display.contact_sheet(self)
    return display.page(sheet, self.expressions, self.scores.mean(1))

  def save(
    self,
    out: str | os.PathLike,
    *,
    video: Any = None,
    overwrite: bool = False,
  ) -> Summary:
    """Write a result folder, as `ResultWriter` does.

    Args:
      out: the folder to make.
      video: the frames again, where they came from an iterator.
      overwrite: replace an earlier result folder.

    Raises:
      UserError: the frames are gone, or `out` is taken.
    """
    reader = self.video if video is None else video_lib.open_video(video)
    if not reader.rereadable and video is None:
      raise errors.UserError(
        "save needs the frames again, and the iterator they came from is "
        "used up: expected save(out, video=...)"
      )
    writer = ResultWriter(
      out,
      reader,
      self.expressions,
      checkpoint=self.checkpoint,
      threshold=self.threshold,
      overwrite=overwrite,
    )
    with writer:
      for index, frame in enumerate(reader.timed()):
        here = np.s_[:, index : index + 1]
        writer.add(
          WindowResult(
            index,
            [frame.pixels],
            self.masks[here],
            self.scores[here],
            self.boxes[here],
            [frame.time],
            [frame.number],
          )
        )
    return writer.summary()


@dataclasses.dataclass(frozen=True)
class Summary:
  """Summary of a finished result folder: its path, the number of frames, and
  each expression's mean score."""

  path: pathlib.Path
  num_frames: int
  scores: tuple[float, ...]


class ResultWriter:
  """Context manager that writes a result folder window by window.

  Memory does not grow with the length of the video. The folder appears under
  its name when the context ends without an exception; otherwise nothing is
  left behind, and an earlier folder stays as it was.
  """

  def __init__(
    self,
    out: str | os.PathLike,
    video: video_lib.VideoReader,
    expressions: Sequence[str],
    *,
    checkpoint: str,
    threshold: float,
    overwrite: bool = False,
  ):
    self.path = pathlib.Path(out).expanduser().absolute()
    check_out(self.path, overwrite)
    self._video = video
    self._expressions = list(expressions)
    self._header = {"checkpoint": checkpoint, "threshold": threshold}
    self._folders = [
      f"masks/{index:02d}{_slug(text)}"
      for index, text in enumerate(expressions)
    ]
    # One choice for the masks' palettes and all pictures.
    self._colours = colours.Colours(len(self._expressions))
    look = *video.shown_size, expressions, self._colours
    self._overlay = overlay.Overlay(*look)
    self._sheet = overlay.ContactSheet(*look)
    self._times: list[float] = []
    self._score_sums = np.zeros(len(self._expressions))
    self._failed = True  # until the context ends well
    self._exit = contextlib.ExitStack()

  def __enter__(self) -> ResultWriter:
    with contextlib.ExitStack() as stack:
      # check_out has allowed what may be replaced.
      folder = stack.enter_context(atomic.output(self.path, overwrite=True))
      folder.mkdir()
      for name in self._folders:
        (folder / name).mkdir(parents=True)
      stack.callback(self._finish_on_success, folder)
      self._mp4 = stack.enter_context(
        video_writer.VideoWriter(folder / "overlay.mp4", self._video.fps)
      )
      # One line per frame and expression, joined into results.json at the
      # end: the order in the file is not the order of production.
      self._lines = [
        stack.enter_context(open(folder / f"{index}.lines", "w"))
        for index in range(len(self._expressions))
      ]
      self._folder = folder
      self._exit = stack.pop_all()
    return self

  def __exit__(self, kind, error, trace) -> bool | None:
    self._failed = kind is not None
    return self._exit.__exit__(kind, error, trace)

  def add(self, window: WindowResult) -> None:
    """Write the next window's masks, overlay frames and results."""
    masks = np.asarray(window.masks)
    timed = zip(window.frames, window.times, window.numbers, strict=True)
    for index, (frame, time, number) in enumerate(timed):
      name = self._video.frame_name(number)
      now, scores = masks[:, index], window.scores[:, index]
      self._colours.update(frame, now)
      for expression, mask in enumerate(now):
        path = self._folder / self._folders[expression] / f"{name}.png"
        save_mask(path, mask, self._colours[expression])
        entry = {
          "frame": name,
          "score": round(float(scores[expression]), 4),
          "box": [round(float(x), 2) for x in window.boxes[expression, index]],
          "rle": encode_rle(mask),
        }
        separator = ",\n" if self._times else ""
        self._lines[expression].write(
          separator + json.dumps(entry, allow_nan=False)
        )
      self._mp4.write(self._overlay.render(frame, now, scores), time)
      self._sheet.add(frame, now, scores, time)
      self._score_sums += scores
      self._times.append(round(time, 6))

  def summary(self) -> Summary:
    """Summary of the frames written so far."""
    num_frames = len(self._times)
    scores = self._score_sums / max(num_frames, 1)
    return Summary(self.path, num_frames, tuple(scores.tolist()))

  def _finish_on_success(self, folder: pathlib.Path) -> None:
    """Run when the overlay and the line files are closed."""
    if self._failed:
      return
    video = {
      "name": self._video.name,
      "height": self._video.height,
      "width": self._video.width,
      "fps": self._video.fps,
      "num_frames": len(self._times),
      "pixel_aspect": self._video.pixel_aspect,
      "timestamps": self._times,
      "skipped_frames": self._video.skipped,
    }
    title = (
      f"{video['name']}: {video['width']}x{video['height']}, "
      f"{len(self._times)} frames"
    )
    self._sheet.image(title).save(folder / "contact_sheet.png")
    scores = self.summary().scores
    header = {"format": FORMAT, "video": video, **self._header}
    with open(folder / "results.json", "w") as out:
      out.write(json.dumps(header, allow_nan=False)[:-1] + ', "expressions": [')
      for index, text in enumerate(self._expressions):
        entry = {"text": text, "masks": self._folders[index]}
        out.write(
          "," * (index > 0) + "\n" + json.dumps(entry, allow_nan=False)[:-1]
        )
        out.write(', "frames": [\n')
        path = folder / f"{index}.lines"
        with open(path) as lines:
          shutil.copyfileobj(lines, out)
        path.unlink()
        out.write(f'], "score": {scores[index]:.4f}}}')
      out.write("]}\n")


def check_out(path: str | os.PathLike, overwrite: bool) -> None:
  """Raise a UserError unless a result folder may be made at `path`.

  With `overwrite` an earlier result folder is replaced, but nothing else: a
  folder that holds anything besides results is never touched.
  """
  path = pathlib.Path(path).expanduser()
  if not os.path.exists(path):
    return
  if not path.is_dir():
    raise errors.UserError(f"out {path}: a file, expected a folder to make")
  atomic.check_replaceable(path)
  names = {entry.name for entry in path.iterdir()}
  if not names:
    return
  if not overwrite:
    raise errors.UserError(
      f"out {path}: the folder is not empty; overwrite replaces earlier results"
    )
  if "results.json" not in names or names - _NAMES:
    raise errors.UserError(
      f"out {path}: not a result folder, or it holds other files too "
      f"({min(names - _NAMES, default='no results.json')}): not overwritten"
    )


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
  """bool[H, W] -> COCO compressed run lengths, ready for JSON."""
  rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
  return {
    "size": [int(side) for side in rle["size"]],
    "counts": rle["counts"].decode("ascii"),
  }


def decode_rle(rle: dict[str, Any]) -> np.ndarray:
  """Inverse of `encode_rle`.

  Raises:
    UserError: not a run-length code, or runs that do not fill the mask.
  """
  try:
    return run_lengths.decode(rle)
  except run_lengths.Malformed as e:
    raise errors.UserError(f"not a COCO run-length mask: {e}") from e


def save_mask(path: pathlib.Path, mask: np.ndarray, colour) -> None:
  """bool[H, W] as a palette PNG, 1 in `colour` on 0 in black."""
  image = PIL.Image.fromarray(mask.astype(np.uint8))
  image.putpalette([0, 0, 0, *colour])
  image.save(path)


def _slug(text: str) -> str:
  """Part of a folder name: "_a_red_ball", or nothing without letters."""
  words = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
  return f"_{words[:40].rstrip('_')}" if words else ""
