"""Pictures of analyses, drawn with Pillow: scatters, sheets of maps, curves."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sgmg_jax.pictures import colours, overlay

RED: Final = (255, 89, 64)
BLUE: Final = (51, 153, 255)
_BACKGROUND: Final = (24, 24, 27)
_PANEL: Final = (38, 38, 42)
_TEXT: Final = (235, 235, 235)
_MUTED: Final = (150, 150, 155)
_GAP: Final = 10
_LINE: Final = 20
# Dots and curves are drawn larger and reduced, which smooths them.
_SMOOTH: Final = 3
# From low to high, dark to bright also for who sees no colours.
_SCALE: Final = np.array(
  [(12, 8, 38), (87, 16, 110), (187, 55, 84), (249, 142, 9), (252, 255, 164)],
  np.float64,
)


def scatter(
  points: np.ndarray, title: str, lines: Sequence[str], side: int = 360
) -> PIL.Image.Image:
  """One panel of a t-SNE: red before, blue behind the decoder.

  Args:
    points: float[2 N, 2], those before first.
  """
  low, high = points.min(0), points.max(0)
  room = side * _SMOOTH - 12 * _SMOOTH
  unit = (points - low) / np.where(high > low, high - low, 1.0)
  places = unit * room + 6 * _SMOOTH
  panel = PIL.Image.new("RGB", (side * _SMOOTH,) * 2, _PANEL)
  draw = PIL.ImageDraw.Draw(panel)
  count = len(points) // 2
  radius = _SMOOTH * (2.2 if count < 500 else 1.5)
  # In turn: the last ones would hide the others.
  for i in np.random.default_rng(0).permutation(len(points)):
    x, y = places[i]
    box = [x - radius, y - radius, x + radius, y + radius]
    draw.ellipse(box, fill=RED if i < count else BLUE)
  panel = panel.resize((side, side), PIL.Image.Resampling.LANCZOS)
  picture = PIL.Image.new(
    "RGB", (side, side + (1 + len(lines)) * _LINE + _GAP), _BACKGROUND
  )
  picture.paste(panel, (0, _LINE))
  _write(picture, (0, 0), title, _TEXT)
  for i, line in enumerate(lines):
    _write(picture, (0, side + (1 + i) * _LINE + 4), line, _MUTED)
  return picture


def drift(panels: Sequence[PIL.Image.Image], title: str) -> PIL.Image.Image:
  """Panels of `scatter` side by side, with a legend."""
  picture = _grid(panels, min(3, len(panels)), title)
  legend = (("before the decoder", RED), ("behind it", BLUE))
  x = picture.width - _GAP
  for text, colour in reversed(legend):
    x -= int(_font().getlength(text)) + 24
    dot = [x, 12, x + 10, 22]
    PIL.ImageDraw.Draw(picture).ellipse(dot, fill=colour)
    _write(picture, (x + 14, 8), text, _TEXT)
  return picture


def heat(values: np.ndarray) -> np.ndarray:
  """uint8[..., 3] of values in [0, 1]."""
  place = np.clip(values, 0, 1) * (len(_SCALE) - 1)
  low = np.minimum(place.astype(int), len(_SCALE) - 2)
  part = (place - low)[..., None]
  mixed = _SCALE[low] * (1 - part) + _SCALE[low + 1] * part
  return np.round(mixed).astype(np.uint8)


def with_mask(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """uint8[H, W, 3] with the tinted mask bool[H, W] in it."""
  picture = PIL.Image.fromarray(frame)
  overlay.draw_mask(picture, mask, colours.colour_of(0))
  return np.asarray(picture)


def sheet(
  rows: Sequence[Mapping[str, np.ndarray]], title: str, side: int = 200
) -> PIL.Image.Image:
  """One frame a row, one kind of picture a column.

  Args:
    rows: pictures uint8[H, W, 3] by the name of their column.
  """
  columns = list(rows[0])
  height, width = rows[0][columns[0]].shape[:2]
  size = round(width * side / height), side
  picture = PIL.Image.new(
    "RGB",
    (
      len(columns) * (size[0] + _GAP) + _GAP,
      2 * _LINE + len(rows) * (side + _GAP) + _GAP,
    ),
    _BACKGROUND,
  )
  _write(picture, (_GAP, 4), title, _TEXT)
  for i, name in enumerate(columns):
    x = _GAP + i * (size[0] + _GAP)
    _write(picture, (x, _LINE + 2), name, _MUTED, size[0])
    for j, row in enumerate(rows):
      one = PIL.Image.fromarray(row[name])
      one = one.resize(size, PIL.Image.Resampling.BILINEAR)
      picture.paste(one, (x, 2 * _LINE + 4 + j * (side + _GAP)))
  return picture


def stack(pictures: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
  """Pictures one below the other."""
  return _grid(pictures, 1, None)


def strengths(
  values: Mapping[str, np.ndarray], title: str, width: int = 420
) -> PIL.Image.Image:
  """Every frame's damping from 0 to 1, a line of dots for each filter."""
  height = 34
  picture = PIL.Image.new(
    "RGB", (width, _LINE + height * len(values) + 30), _BACKGROUND
  )
  _write(picture, (0, 2), title, _TEXT)
  left, right = 64, width - 16
  draw = PIL.ImageDraw.Draw(picture)
  bottom = _LINE + height * len(values)
  for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
    x = left + mark * (right - left)
    draw.line([x, _LINE + 8, x, bottom], fill=_PANEL)
    _write(picture, (int(x) - 12, bottom + 4), f"{mark:.2f}", _MUTED)
  for i, (name, frames) in enumerate(values.items()):
    y = _LINE + height * i + height // 2 + 4
    _write(picture, (0, y - 9), name, _MUTED)
    draw.line([left, y, right, y], fill=_PANEL)
    jitter = np.random.default_rng(0).uniform(-7, 7, len(frames))
    for value, up in zip(frames, jitter):
      x = left + float(value) * (right - left)
      draw.ellipse([x - 2, y + up - 2, x + 2, y + up + 2], fill=RED)
  return picture


def powers(
  values: Mapping[str, np.ndarray], title: str, side: int = 190
) -> PIL.Image.Image:
  """Shares of power by frequency, logarithmic: grey before, red behind.

  Args:
    values: float[2, R] by filter, see `features.radial_power`.
  """
  panels = []
  for name, curves in values.items():
    panel = PIL.Image.new("RGB", (side * _SMOOTH,) * 2, _PANEL)
    draw = PIL.ImageDraw.Draw(panel)
    room = side * _SMOOTH - 20 * _SMOOTH
    for curve, colour in zip(curves, (_MUTED, RED)):
      # From a hundred thousandth to one.
      up = 1 + np.log10(np.maximum(curve, 1e-5)) / 5
      # Rings of few frequencies lie where their frequencies do.
      x = np.arange(1, len(curve) + 1) / len(curve) * room + 10 * _SMOOTH
      y = (1 - up) * room + 10 * _SMOOTH
      draw.line(list(zip(x, y)), fill=colour, width=2 * _SMOOTH, joint="curve")
      for place in zip(x, y):
        draw.circle(place, 2.5 * _SMOOTH, fill=colour)
    panel = panel.resize((side, side), PIL.Image.Resampling.LANCZOS)
    whole = PIL.Image.new("RGB", (side, side + _LINE), _BACKGROUND)
    whole.paste(panel, (0, _LINE))
    _write(whole, (0, 0), name, _MUTED)
    panels.append(whole)
  return _grid(panels, 4, title)


def _grid(pictures, columns: int, title: str | None) -> PIL.Image.Image:
  top = 0 if title is None else _LINE + _GAP
  width = max(p.width for p in pictures) + _GAP
  rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
  heights = [max(p.height for p in row) + _GAP for row in rows]
  picture = PIL.Image.new(
    "RGB",
    (columns * width + _GAP, top + sum(heights) + _GAP),
    _BACKGROUND,
  )
  if title:
    _write(picture, (_GAP, 8), title, _TEXT)
  y = top + _GAP
  for row, height in zip(rows, heights):
    for i, one in enumerate(row):
      picture.paste(one, (_GAP + i * width, y))
    y += height
  return picture


def _write(picture, place, text: str, colour, room: float | None = None):
  room = room or picture.width - place[0]
  text = text.encode("ascii", "replace").decode()
  PIL.ImageDraw.Draw(picture).text(
    place, overlay.shorten(text, _font(), room), colour, _font()
  )


@functools.cache
def _font() -> PIL.ImageFont.FreeTypeFont:
  return PIL.ImageFont.load_default(size=14)
