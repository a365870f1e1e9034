"""Line charts of a few curves, for reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sgmg_jax.pictures import colours

_SIZE: Final = (860, 560)
# Of the axes: left, top, right, bottom.
_BOX: Final = (80, 50, 830, 490)
_GREY: Final = (215, 215, 215)


def draw(
  lines: Mapping[str, Sequence[tuple[float, float]]], *, x: str, y: str
) -> PIL.Image.Image:
  """Draw curves over positive numbers; both axes begin with zero.

  Args:
    lines: points (x, y) of each curve, by its name.
    x: name of the axis across.
    y: name of the axis upwards.
  """
  image = PIL.Image.new("RGB", _SIZE, "white")
  pen = PIL.ImageDraw.Draw(image)
  font = PIL.ImageFont.load_default(16)
  points = [point for line in lines.values() for point in line]
  x_step, x_most = _ticks(max(point[0] for point in points))
  y_step, y_most = _ticks(max(point[1] for point in points))
  left, top, right, bottom = _BOX

  def place(point):
    across, up = point[0] / x_most, point[1] / y_most
    return left + across * (right - left), bottom - up * (bottom - top)

  for k in range(round(y_most / y_step) + 1):
    _, height = place((0, k * y_step))
    pen.line((left, height, right, height), _GREY)
    text = f"{k * y_step:g}"
    pen.text((left - 10, height), text, "black", font, anchor="rm")
  for k in range(round(x_most / x_step) + 1):
    across, _ = place((k * x_step, 0))
    pen.text(
      (across, bottom + 10), f"{k * x_step:g}", "black", font, anchor="mt"
    )
  pen.line((left, bottom, right, bottom), "black", 2)
  pen.text(((left + right) / 2, _SIZE[1] - 12), x, "black", font, anchor="mb")
  pen.text((left - 60, top - 40), y, "black", font)
  for number, (name, line) in enumerate(lines.items()):
    colour = colours.colour_of(number)
    pen.line([place(point) for point in line], colour, 3)
    for point in line:
      across, height = place(point)
      pen.ellipse((across - 5, height - 5, across + 5, height + 5), colour)
    corner = (left + 20, top + 10 + 24 * number)
    pen.rectangle((*corner, corner[0] + 20, corner[1] + 12), colour)
    pen.text((corner[0] + 30, corner[1] - 4), name, "black", font)
  return image


def _ticks(largest: float) -> tuple[float, float]:
  """A round step, and the first multiple of it that is not less."""
  rough = largest / 5
  scale = 10 ** math.floor(math.log10(rough))
  step = next(s * scale for s in (1, 2, 5, 10) if s * scale >= rough)
  return step, step * math.ceil(largest / step)
