"""Draw training clips with their masks, boxes and sentences."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sgmg_jax.pictures import colours, overlay

_BACKGROUND: Final = (24, 24, 27)
_TEXT: Final = (235, 235, 235)
_MUTED: Final = (150, 150, 155)
_BOX: Final = (255, 202, 40)
# Height of a frame, and the space around it.
_HEIGHT: Final = 170
_GAP: Final = 6
_SHEET_WIDTH: Final = 1600


def draw_clip(
  example: Mapping[str, Any], stored: str, name: str, frames: Sequence[str]
) -> PIL.Image.Image:
  """One clip: its sentence above its frames in a row.

  Args:
    example: frames uint8[T, H, W, 3], masks bool[1, K, H, W], boxes
      float32[1, K, 4] (x1, y1, x2, y2 pixels), valid bool[1, K], annotated
      int32[K] and expressions, one.
    stored: the sentence before it was transformed; shown where it differs.
  """
  height, width = example["frames"].shape[1:3]
  scale = _HEIGHT / height
  size = (max(1, round(width * scale)), _HEIGHT)
  line = sum(_font().getmetrics()) + 4
  num_frames = len(frames)
  picture = PIL.Image.new(
    "RGB",
    (
      max(num_frames * (size[0] + _GAP) + _GAP, 2 * _HEIGHT),
      3 * line + size[1] + 2 * _GAP,
    ),
    _BACKGROUND,
  )
  draw = PIL.ImageDraw.Draw(picture)
  room = picture.width - 2 * _GAP
  (sentence,) = example["expressions"]
  draw.text((_GAP, _GAP), _fitting(sentence, room), _TEXT, _font())
  if sentence != stored:
    name = f"{name}, stored: {stored}"
  draw.text((_GAP, _GAP + line), _fitting(name, room), _MUTED, _font())
  rows = {int(t): k for k, t in enumerate(example["annotated"])}
  for t in range(num_frames):
    frame = PIL.Image.fromarray(example["frames"][t]).resize(
      size, PIL.Image.Resampling.BILINEAR
    )
    remark = "no mask"
    if t in rows:
      k = rows[t]
      remark = "" if example["valid"][0, k] else "not visible"
      _draw_truth(frame, example["masks"][0, k], example["boxes"][0, k] * scale)
    position = (_GAP + t * (size[0] + _GAP), 2 * line + _GAP)
    picture.paste(frame, position)
    label = f"{frames[t]}  {remark}".strip()
    draw.text(
      (position[0], position[1] + size[1]),
      _fitting(label, size[0]),
      _MUTED,
      _font(),
    )
  return picture


def sheet(clips: Sequence[PIL.Image.Image], title: str) -> PIL.Image.Image:
  """All clips on one picture, side by side where they fit, under a title."""
  shelves: list[list[PIL.Image.Image]] = []
  room = 0
  for clip in clips:
    if clip.width > room:
      shelves.append([])
      room = _SHEET_WIDTH
    shelves[-1].append(clip)
    room -= clip.width
  line = sum(_font().getmetrics()) + 2 * _GAP
  width = max(sum(clip.width for clip in shelf) for shelf in shelves)
  heights = [max(clip.height for clip in shelf) for shelf in shelves]
  picture = PIL.Image.new("RGB", (width, line + sum(heights)), _BACKGROUND)
  draw = PIL.ImageDraw.Draw(picture)
  draw.text((_GAP, _GAP), _fitting(title, width - 2 * _GAP), _MUTED, _font())
  y = line
  for shelf, height in zip(shelves, heights):
    x = 0
    for clip in shelf:
      picture.paste(clip, (x, y))
      x += clip.width
    y += height
  return picture


def _draw_truth(
  frame: PIL.Image.Image, mask: np.ndarray, box: np.ndarray
) -> None:
  small = PIL.Image.fromarray(mask.astype(np.uint8)).resize(
    frame.size, PIL.Image.Resampling.NEAREST
  )
  small = np.asarray(small, bool)
  colour = colours.Colours(1)
  colour.update(np.asarray(frame), small[None])
  overlay.draw_mask(frame, small, colour[0])
  if box[2] > box[0] and box[3] > box[1]:
    PIL.ImageDraw.Draw(frame).rectangle(
      [round(float(value)) for value in box], outline=_BOX
    )


@functools.cache
def _font() -> PIL.ImageFont.FreeTypeFont:
  return PIL.ImageFont.load_default(size=14)


def _fitting(text: str, room: float) -> str:
  """Cut the text to fit, in characters of Pillow's font."""
  return overlay.shorten(
    text.encode("ascii", "replace").decode(), _font(), room
  )
