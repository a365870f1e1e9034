"""Random crops of resized clips."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgmg_jax.input_pipeline.ops import base
from sgmg_jax.input_pipeline.ops import resize as resize_lib


def draw_window(
  size: base.Size, min_side: int, max_side: int, random: np.random.Generator
) -> resize_lib.Window:
  """Draw width, then height, uniform in min_side..max_side as far as the frame
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
  """Move boxes and clip them to [0, width] x [0, height]; they are not
  tightened to the visible rest of the object."""
  offset = np.array([window.left, window.top] * 2, np.float32)
  limit = np.array([window.width, window.height] * 2, np.float32)
  return np.clip(boxes - offset, 0, limit)


def crop(
  example: base.Example, size: base.Size, window: resize_lib.Window
) -> dict[str, Any]:
  """Resize the whole example to `size`, then keep the window of it."""
  # Only what the crop keeps is resized.
  example = resize_lib.resize(example, size, window)
  return {**example, "boxes": crop_boxes(example["boxes"], window)}
