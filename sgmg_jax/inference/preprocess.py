"""Turn frames into model input: resize, normalise, pad to shape buckets.

Follows the official inference preprocessing of SgMg: the short side becomes
360 (the long side has no limit in videos, 640 in pictures), 8-bit bilinear
resizing with antialiasing, ImageNet normalisation, zero padding at the bottom
and right to multiples of 16 in videos and, as their evaluations have it, of 32
in annotated frames and pictures: spectra depend on it. Strips, narrower than
any of the benchmarks' videos, are made smaller and padded instead: see
`plan_geometry`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Final

import jax.numpy as jnp
import numpy as np
import PIL.Image

from sgmg_jax import errors, types
from sgmg_jax.input_pipeline.ops import resize

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
PAD_MULTIPLE: Final = 16
# Of annotated frames and pictures.
PAD_MULTIPLE_OF_FRAMES: Final = 32
MIN_SIDE: Final = types.MIN_PADDED_SIDE
# Frames with a long side of more than this many short ones are strips; the
# benchmarks' videos have at most 3.4.
MAX_ASPECT: Final = 5
# Of a padded frame, just over Full HD.
MAX_PIXELS: Final = 2**21


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
  height: int,
  width: int,
  short_side: int,
  long_side: int | None,
  multiple: int = PAD_MULTIPLE,
) -> Geometry:
  """Sizes for a video of `height` x `width` pixels.

  Frames that would come out too small for the model's coarsest map (`MIN_SIDE`)
  are upsized to it instead, whatever their long side. But a strip
  (`MAX_ASPECT`) is resized by its long side, to no more than what the widest
  other frame gets, and its short side is padded to `MIN_SIDE`. Padded sides are
  multiples of `multiple`.

  Raises:
    UserError: the model's input would exceed `MAX_PIXELS` a frame.
  """
  short, long = sorted((height, width))
  if long > MAX_ASPECT * short:
    limit = min(MAX_ASPECT * short_side, long_side or math.inf)
    limit = max(limit, MAX_ASPECT * MIN_SIDE)
    size = (max(1, round(limit * short / long)), limit)
    size = size if height < width else size[::-1]
  else:
    size = target_size(height, width, short_side, long_side)
    if min(_pad_to_multiple(size, PAD_MULTIPLE)) < MIN_SIDE:
      size = target_size(height, width, MIN_SIDE, None)
  padded = _pad_to_multiple((max(MIN_SIDE, side) for side in size), multiple)
  if math.prod(padded) > MAX_PIXELS:
    raise errors.UserError(
      f"frames of {width}x{height} would be {size[1]}x{size[0]} for the model: "
      f"expected at most {MAX_PIXELS:,} pixels; the card's preprocess says "
      f"short_side {short_side}, long_side {long_side}"
    )
  return Geometry((height, width), size, padded)


def _pad_to_multiple(size: Iterable[int], multiple: int) -> tuple[int, int]:
  height, width = (-(-side // multiple) * multiple for side in size)
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
  """Stack resized frames to uint8[1, bucket, padded h, padded w, 3].

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
