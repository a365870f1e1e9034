"""Boxes: from masks, and which of them count."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from sgmg_jax.input_pipeline.ops import base


def from_masks(masks: np.ndarray) -> np.ndarray:
  """bool[..., H, W] -> float32[..., 4], (x1, y1, x2, y2).

  x2 and y2 are the last occupied column and row, not one past them. Zeros
  for an empty mask.
  """
  boxes = np.zeros((*masks.shape[:-2], 4), np.float32)
  for index in np.ndindex(masks.shape[:-2]):
    mask = masks[index]
    rows = np.flatnonzero(mask.any(1))
    if rows.size:
      # Columns of the occupied rows only: objects are small.
      columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
      boxes[index] = columns[0], rows[0], columns[-1], rows[-1]
  return boxes


@dataclasses.dataclass(frozen=True)
class BoxesFromMasks(base.Op):
  """Sets `boxes`, and `valid` where a mask is not empty.

  An example that brings boxes keeps them (annotated ones, as of COCO).

  Attributes:
    continuous: x2 and y2 are one past the last column and row, as the edges
      of annotated boxes are.
  """

  continuous: bool = False

  touches_frames: ClassVar[bool] = False

  def __call__(self, example, seed):
    del seed
    masks = example["masks"]
    valid = masks.any((-2, -1))
    boxes = example.get("boxes")
    if boxes is None:
      boxes = from_masks(masks)
      if self.continuous:
        boxes[valid, 2:] += 1
    return {**example, "boxes": boxes, "valid": valid}


@dataclasses.dataclass(frozen=True)
class CheckBoxes(base.Op):
  """Frames whose box has no extent become invalid, their boxes zeros.

  The official rule looks at boxes only: an object one pixel wide is invalid,
  and one cropped away stays valid as long as its box is not. Masks stay as
  they are.
  """

  touches_frames: ClassVar[bool] = False

  def __call__(self, example, seed):
    del seed
    boxes = example["boxes"]
    valid = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    boxes = np.where(valid[..., None], boxes, np.float32(0))
    return {**example, "boxes": boxes, "valid": valid}


@dataclasses.dataclass(frozen=True)
class ZeroEmptyBoxes(base.Op):
  """Boxes of empty masks become zeros; last step of pseudo-videos."""

  touches_frames: ClassVar[bool] = False

  def __call__(self, example, seed):
    del seed
    seen = example["masks"].any((-2, -1))
    boxes = np.where(seen[..., None], example["boxes"], np.float32(0))
    return {**example, "boxes": boxes}
