"""Resizing of frames, masks and boxes as the official pipelines do it.

Frames: Pillow's antialiased bilinear filter on 8 bit. Masks: nearest
neighbour, from the source index floor(i * in / out).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import PIL.Image

from sgmg_jax.input_pipeline.ops import base


def target_size(
  size: base.Size, short: int, longest: int | None = None
) -> base.Size:
  """(height, width) whose short side is `short`.

  It is less where the long side would exceed `longest`; the long side is
  rounded down.
  """
  height, width = size
  low, high = sorted(size)
  if longest is not None and high / low * short > longest:
    # Python's round, half to even, is part of the rule.
    short = max(1, round(longest * low / high))
  if low == short:
    return size
  long = int(short * high / low)
  return (short, long) if height <= width else (long, short)


@dataclasses.dataclass(frozen=True)
class Window:
  """A crop of a frame: its upper left corner and size, pixels."""

  top: int
  left: int
  height: int
  width: int

  @property
  def size(self) -> base.Size:
    return self.height, self.width


def resize_frames(
  frames: np.ndarray | Sequence[PIL.Image.Image],
  size: base.Size,
  window: Window | None = None,
) -> np.ndarray:
  """uint8[T, H, W, 3], or T images of one size, -> uint8[T, h, w, 3]; with a
  window, that part of it.

  Pillow filters along rows, then along columns. Doing the same in two calls,
  with the window's columns cut out between them, saves half of the second
  and changes nothing (Pillow's own `box` is rounded to float32, which does).
  """
  if isinstance(frames, np.ndarray):
    in_size = frames.shape[1:3]
  else:
    in_size = frames[0].size[::-1]
  if window is None and tuple(in_size) == tuple(size):
    return np.asarray(frames)
  height, width = size
  window = window or Window(0, 0, height, width)
  in_two = window.width < width and _rows_first(in_size, size)
  rows = slice(window.top, window.top + window.height)
  columns = slice(window.left, window.left + window.width)
  bilinear = PIL.Image.Resampling.BILINEAR
  resized = np.empty((len(frames), *window.size, 3), np.uint8)
  for target, frame in zip(resized, frames):
    image = frame
    if isinstance(frame, np.ndarray):
      image = PIL.Image.fromarray(frame)
    if in_two:
      image = image.resize((width, image.height), bilinear)
      image = image.crop((columns.start, 0, columns.stop, image.height))
      image = image.resize((window.width, height), bilinear)
      target[:] = np.asarray(image)[rows]
    else:
      image = image.resize((width, height), bilinear)
      target[:] = np.asarray(image)[rows, columns]
  return resized


def _rows_first(in_size, out_size):
  """Where Pillow surely filters along rows first; its newer versions choose
  the cheaper order for tall images and for unequal scales."""
  (height, width), (out_height, out_width) = in_size, out_size
  alike = (out_height <= height) == (out_width <= width)
  return alike and height < 1.9 * width


def resize_masks(
  masks: np.ndarray, size: base.Size, window: Window | None = None
) -> np.ndarray:
  """bool[..., H, W] -> bool[..., h, w]; with a window, that part of it."""
  window = window or Window(0, 0, *size)
  if masks.shape[-2:] == tuple(size) == window.size:
    return masks
  rows = nearest(window.top, window.height, masks.shape[-2], size[0])
  columns = nearest(window.left, window.width, masks.shape[-1], size[1])
  resized = np.empty((*masks.shape[:-2], *window.size), bool)
  for i in np.ndindex(masks.shape[:-2]):
    np.take(masks[i][rows], columns, axis=1, out=resized[i], mode="clip")
  return resized


def nearest(start: int, count: int, in_side: int, out_side: int) -> np.ndarray:
  """Source indices of the target indices from `start` on.

  In float32, as the official implementation: it decides between neighbours
  where index * in / out is a whole number.
  """
  scale = np.float32(in_side / out_side)
  indices = np.arange(start, start + count, dtype=np.float32) * scale
  return np.minimum(indices.astype(np.intp), in_side - 1)


def resize_boxes(
  boxes: np.ndarray, in_size: base.Size, out_size: base.Size
) -> np.ndarray:
  """float32[..., 4] times out / in of each axis."""
  y, x = out_size[0] / in_size[0], out_size[1] / in_size[1]
  return boxes * np.array([x, y, x, y], np.float32)


def resize(
  example: base.Example, size: base.Size, window: Window | None = None
) -> dict[str, Any]:
  """Resizes the whole example to `size`, then keeps the window of frames and
  masks. Boxes are in pixels of the whole."""
  return {
    **example,
    "frames": resize_frames(example["frames"], size, window),
    "masks": resize_masks(example["masks"], size, window),
    "boxes": resize_boxes(example["boxes"], example["size"], size),
    "size": window.size if window else size,
  }


@dataclasses.dataclass(frozen=True)
class Resize(base.Op):
  """To a short side, with the long side limited: evaluation.

  Attributes:
    short: short side, pixels.
    longest: limit of the long side; None: no limit.
  """

  short: int
  longest: int | None = None

  takes_images: ClassVar[bool] = True

  def output_size(self, size, seed):
    del seed
    return target_size(size, self.short, self.longest)

  def __call__(self, example, seed):
    return resize(example, self.output_size(example["size"], seed))
