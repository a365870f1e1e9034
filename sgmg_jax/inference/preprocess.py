"""Frames to model input: resize, normalise, pad, and the shape buckets.

Follows the official inference preprocessing of SgMg: short side 360, 8-bit
bilinear resizing with antialiasing, ImageNet normalisation, zero padding at
the bottom and right to multiples of 16.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import jax.numpy as jnp
import numpy as np
import PIL.Image

from sgmg_jax import types
from sgmg_jax.input_pipeline.ops import resize

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
PAD_MULTIPLE: Final = 16
# The stride-64 map needs 3x3 cells (an unpadded 3x3 convolution reads it).
MIN_SIDE: Final = 144


@dataclasses.dataclass(frozen=True)
class Geometry:
  """(height, width) of a video: as decoded, as resized for the model, and
  with the padding that the model sees."""

  original: tuple[int, int]
  size: tuple[int, int]
  padded: tuple[int, int]


def target_size(
  height: int, width: int, short_side: int, long_side: int | None
) -> tuple[int, int]:
  """Size after the official resize rule.

  The short side becomes `short_side`, or less where the long side would
  exceed `long_side`; the long side is rounded down.
  """
  return resize.target_size((height, width), short_side, long_side)


def plan_geometry(
  height: int, width: int, short_side: int, long_side: int | None
) -> Geometry:
  """Sizes for a video of `height` x `width` pixels.

  Frames that would come out too small for the model's coarsest map
  (`MIN_SIDE`) are upsized to it instead, whatever their long side.
  """
  size = target_size(height, width, short_side, long_side)
  if min(_pad_to_multiple(size)) < MIN_SIDE:
    size = target_size(height, width, MIN_SIDE, None)
  return Geometry((height, width), size, _pad_to_multiple(size))


def _pad_to_multiple(size: tuple[int, int]) -> tuple[int, int]:
  height, width = (-(-side // PAD_MULTIPLE) * PAD_MULTIPLE for side in size)
  return height, width


def time_bucket(num_frames: int) -> int:
  """Frames that a clip of `num_frames` is padded to.

  Few distinct lengths mean few compilations. Above 8 frames the model needs
  exactly the next multiple of its temporal window, 8.
  """
  for bucket in (1, 2, 4, 6, 8):
    if num_frames <= bucket:
      return bucket
  return math.ceil(num_frames / 8) * 8


def resize_frame(frame: np.ndarray, geometry: Geometry) -> np.ndarray:
  """uint8[H, W, 3] -> uint8[h, w, 3] by Pillow's antialiased bilinear."""
  height, width = geometry.size
  if frame.shape[:2] == (height, width):
    return frame
  image = PIL.Image.fromarray(frame)
  return np.asarray(
    image.resize((width, height), PIL.Image.Resampling.BILINEAR)
  )


def pad_clip(frames: list[np.ndarray], geometry: Geometry) -> np.ndarray:
  """Stacks resized frames to uint8[1, bucket, padded h, padded w, 3].

  The padding values do not matter: `normalise` and the model's frame count
  leave them out.
  """
  height, width = geometry.size
  clip = np.zeros((1, time_bucket(len(frames)), *geometry.padded, 3), np.uint8)
  for index, frame in enumerate(frames):
    clip[0, index, :height, :width] = frame
  return clip


def normalise(
  clip: types.Array, size: types.Array
) -> tuple[types.Array, types.Array]:
  """Normalised model input, zero in the padding; runs inside jit.

  Args:
    clip: uint8[B, T, H, W, 3] padded frames.
    size: int[B, 2], (height, width) before padding.

  Returns:
    float32[B, T, H, W, 3] and the pixel mask bool[B, H, W].
  """
  _, _, height, width, _ = clip.shape
  rows = jnp.arange(height)[None, :, None] < size[:, 0, None, None]
  columns = jnp.arange(width)[None, None, :] < size[:, 1, None, None]
  pixel_valid = rows & columns
  pixels = clip.astype(jnp.float32) / 255.0
  pixels = (pixels - jnp.asarray(MEAN)) / jnp.asarray(STD)
  return pixels * pixel_valid[:, None, :, :, None], pixel_valid
