"""Random crop."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.ops import base
from sgmg_jax.input_pipeline.ops import resize as resize_lib


def draw_window(
  size: base.Size, min_side: int, max_side: int, random: np.random.Generator
) -> resize_lib.Window:
  """Width, then height, uniform in min_side..max_side as far as the frame
  allows; then top and left, uniform."""
  height, width = size
  crop_width = _draw_side(width, min_side, max_side, random)
  crop_height = _draw_side(height, min_side, max_side, random)
  top = int(random.integers(height - crop_height + 1))
  left = int(random.integers(width - crop_width + 1))
  return resize_lib.Window(top, left, crop_height, crop_width)


def _draw_side(side, min_side, max_side, random):
  high = min(side, max_side)
  return int(random.integers(min(side, min_side), high + 1))


def crop_boxes(boxes: np.ndarray, window: resize_lib.Window) -> np.ndarray:
  """Moved and clipped to [0, width] x [0, height]; not tightened to what of
  the object is left."""
  offset = np.array([window.left, window.top] * 2, np.float32)
  limit = np.array([window.width, window.height] * 2, np.float32)
  return np.clip(boxes - offset, 0, limit)


def crop(example: base.Example, window: resize_lib.Window) -> dict[str, Any]:
  """The window of frames, masks and boxes; the former are views."""
  rows = slice(window.top, window.top + window.height)
  columns = slice(window.left, window.left + window.width)
  return {
    **example,
    "frames": example["frames"][:, rows, columns],
    "masks": example["masks"][:, rows, columns],
    "boxes": crop_boxes(example["boxes"], window),
    "size": window.size,
  }


@dataclasses.dataclass(frozen=True)
class RandomCrop(base.Op):
  """See `draw_window`; sides in pixels."""

  min_side: int = 384
  max_side: int = 600

  def _draw(self, size, seed):
    random = seeds.generator(*seed)
    return draw_window(size, self.min_side, self.max_side, random)

  def output_size(self, size, seed):
    return self._draw(size, seed).size

  def __call__(self, example, seed):
    return crop(example, self._draw(example["size"], seed))
