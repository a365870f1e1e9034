"""Training's choice between a resize and a resize, crop, resize."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.ops import base, resize
from sgmg_jax.input_pipeline.ops import boxes as boxes_lib


@dataclasses.dataclass(frozen=True)
class _Plan:
  """Sizes of the steps; without a crop only the last."""

  before_crop: base.Size | None
  window: resize.Window | None
  final: base.Size


@dataclasses.dataclass(frozen=True)
class RandomResizeCrop(base.Op):
  """With even odds one of
    resize to one of `shorts`;
    resize to one of `crop_shorts`, without a limit of the long side, random
    crop, resize to one of `recrop_shorts`.
  All frames share the draws. Afterwards boxes without extent are invalid, as
  of `CheckBoxes`.

  Attributes:
    shorts: short sides, pixels.
    longest: limit of the long side at the end, pixels.
    recrop_shorts: short sides after the crop; as `shorts` if empty.
    crop_shorts: short sides before the crop.
    min_side: of the crop.
    max_side: of the crop.
  """

  shorts: tuple[int, ...]
  longest: int
  recrop_shorts: tuple[int, ...] = ()
  crop_shorts: tuple[int, ...] = (400, 500, 600)
  min_side: int = 384
  max_side: int = 600

  takes_images: ClassVar[bool] = True

  def _plan(self, size: base.Size, seed: base.Seed) -> _Plan:
    random = seeds.generator(*seed)
    before, window, shorts = None, None, self.shorts
    if random.random() < 0.5:
      before = resize.target_size(size, _choose(self.crop_shorts, random))
      window = draw_window(before, self.min_side, self.max_side, random)
      size = window.size
      shorts = self.recrop_shorts or shorts
    short = _choose(shorts, random)
    return _Plan(before, window, resize.target_size(size, short, self.longest))

  def output_size(self, size, seed):
    return self._plan(size, seed).final

  def __call__(self, example, seed):
    plan = self._plan(example["size"], seed)
    if plan.window:
      example = crop(example, plan.before_crop, plan.window)
    example = resize.resize(example, plan.final)
    return boxes_lib.CheckBoxes()(example, seed)


def _choose(values, random):
  return values[int(random.integers(len(values)))]


def draw_window(
  size: base.Size, min_side: int, max_side: int, random: np.random.Generator
) -> resize.Window:
  """Draw width, then height, uniform in min_side..max_side as far as the frame
  allows; then top and left, uniform."""
  height, width = size
  crop_width = _draw_side(width, min_side, max_side, random)
  crop_height = _draw_side(height, min_side, max_side, random)
  top = int(random.integers(height - crop_height + 1))
  left = int(random.integers(width - crop_width + 1))
  return resize.Window(top, left, crop_height, crop_width)


def _draw_side(side, min_side, max_side, random):
  high = min(side, max_side)
  return int(random.integers(min(side, min_side), high + 1))


def crop_boxes(boxes: np.ndarray, window: resize.Window) -> np.ndarray:
  """Move boxes and clip them to [0, width] x [0, height]; they are not
  tightened to the visible rest of the object."""
  offset = np.array([window.left, window.top] * 2, np.float32)
  limit = np.array([window.width, window.height] * 2, np.float32)
  return np.clip(boxes - offset, 0, limit)


def crop(
  example: base.Example, size: base.Size, window: resize.Window
) -> dict[str, Any]:
  """Resize the whole example to `size`, then keep the window of it."""
  # Only what the crop keeps is resized.
  example = resize.resize(example, size, window)
  return {**example, "boxes": crop_boxes(example["boxes"], window)}
