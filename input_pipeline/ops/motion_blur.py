"""Blur along a line, as by a moving camera."""

from __future__ import annotations

import dataclasses

import numpy as np
import PIL.Image


@dataclasses.dataclass(frozen=True)
class Blur:
  """Of one frame.

  Attributes:
    length: side of the kernel, odd, pixels.
    angle: of the line against the vertical, degrees, clockwise.
    direction: -1..1; at the ends the blur fades towards one end of the line,
      at 0 it is even.
  """

  length: int
  angle: float
  direction: float


def draw(random: np.random.Generator) -> Blur:
  """The official distribution."""
  return Blur(
    (9, 11)[int(random.integers(2))],
    float(random.uniform(0, 360)),
    float(random.uniform(-1, 1)),
  )


def kernel(blur: Blur) -> np.ndarray:
  """float32[length, length], sums to 1."""
  line = np.zeros((blur.length, blur.length), np.float32)
  start = (blur.direction + 1) / 2
  line[:, blur.length // 2] = np.linspace(start, 1 - start, blur.length)
  image = PIL.Image.fromarray(line)
  # Pillow rotates anticlockwise.
  turned = image.rotate(-blur.angle, PIL.Image.Resampling.BILINEAR)
  weights = np.asarray(turned)
  return weights / weights.sum()


def apply(frame: np.ndarray, blur: Blur) -> np.ndarray:
  """uint8[H, W, 3] -> uint8[H, W, 3]; the border is reflected."""
  height, width, _ = frame.shape
  reach = blur.length // 2
  padded = np.pad(frame, ((reach, reach), (reach, reach), (0, 0)), "reflect")
  weights = kernel(blur)
  total = np.full(frame.shape, 0.5, np.float32)  # Rounds to nearest below.
  # A line has few weights: shifted sums are quicker than a convolution.
  for y, x in np.argwhere(weights):
    total += weights[y, x] * padded[y : y + height, x : x + width]
  return np.clip(total, 0, 255).astype(np.uint8)
