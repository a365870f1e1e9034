"""Horizontal flip of a clip and of the sentences about it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.ops import base, captions


def flip_frames(frames: np.ndarray) -> np.ndarray:
  """uint8[..., W, 3] mirrored, a contiguous copy."""
  flipped = np.empty(frames.shape, frames.dtype)
  # Thrice as fast as one copy, whose inner loop has three steps.
  for channel in range(frames.shape[-1]):
    flipped[..., channel] = frames[..., ::-1, channel]
  return flipped


def flip_boxes(boxes: np.ndarray, valid: np.ndarray, width: int) -> np.ndarray:
  """float32[..., 4] mirrored as the masks: column x goes to width - 1 - x.

  Boxes of invalid frames stay zeros; one that a crop has clipped at the
  frame's right edge, `width`, comes to lie at 0.
  """
  mirrored = boxes.copy()
  mirrored[..., 0] = np.maximum(width - 1 - boxes[..., 2], 0)
  mirrored[..., 2] = np.maximum(width - 1 - boxes[..., 0], 0)
  return np.where(valid[..., None], mirrored, boxes)


def flip_continuous_boxes(boxes: np.ndarray, width: int) -> np.ndarray:
  """float32[..., 4] mirrored as edges are: x goes to width - x.

  Officially done to all boxes. Those that name the last column then lie one
  pixel to the right of the mask, and the zeros of invalid frames become
  (width, 0, width, 0).
  """
  mirrored = boxes.copy()
  mirrored[..., 0] = width - boxes[..., 2]
  mirrored[..., 2] = width - boxes[..., 0]
  return mirrored


@dataclasses.dataclass(frozen=True)
class RandomFlip(base.Op):
  """Mirrors frames, masks, boxes and the sides in all sentences.

  Attributes:
    substring_caption: swaps sides inside words too, see
      `captions.swap_substrings`.
    continuous_boxes: see `flip_continuous_boxes`.
  """

  probability: float = 0.5
  substring_caption: bool = False
  placeholder: str = "@"
  continuous_boxes: bool = False

  def __call__(self, example, seed):
    if seeds.generator(*seed).random() < self.probability:
      return self.flip(example)
    return dict(example)

  def flip(self, example: base.Example) -> dict[str, Any]:
    """The flip itself."""
    width = example["size"][1]
    boxes = example["boxes"]
    if self.continuous_boxes:
      boxes = flip_continuous_boxes(boxes, width)
    else:
      boxes = flip_boxes(boxes, example["valid"], width)
    swap = captions.swap_sides
    if self.substring_caption:
      swap = functools.partial(
        captions.swap_substrings, placeholder=self.placeholder
      )
    return {
      **example,
      "frames": flip_frames(example["frames"]),
      "masks": np.ascontiguousarray(example["masks"][..., ::-1]),
      "boxes": boxes,
      "expressions": [swap(text) for text in example["expressions"]],
    }
