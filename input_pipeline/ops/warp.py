"""Random warps that turn an image into a later frame of a pseudo-video.

As the official joint training: colours change, corners move inwards, the
frame rotates and shifts, and sometimes it is blurred by motion. Perspective
and rotation are one resampling here, where the official loader does two.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import PIL.Image

from sgmg_jax.input_pipeline.ops import motion_blur

_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


@dataclasses.dataclass(frozen=True)
class Warp:
  """The random numbers of one warped frame; by default nothing happens.

  Attributes:
    brightness: added to all channels, grey levels.
    saturation: added to the 8-bit saturation; the hue turns along.
    inwards: (x, y) by which each corner moves inwards, as fractions of width
      and height; upper left first, clockwise.
    rotation: degrees, clockwise.
    shift: to the right and down, as a fraction of width and height.
    blur: of the image only, if any.
  """

  brightness: int = 0
  saturation: int = 0
  inwards: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 4
  rotation: float = 0.0
  shift: float = 0.0
  blur: motion_blur.Blur | None = None


def draw(random: np.random.Generator) -> Warp:
  """The official distribution."""
  # One of the two, or both.
  both, first = random.random(2) < 0.5
  brightness = int(random.integers(-40, 41))
  saturation = int(random.integers(-5, 6))
  inwards = np.abs(random.normal(0, 0.08, (4, 2))) % 1
  rotation = float(random.uniform(-20, 20))
  shift = float(random.uniform(-0.1, 0.1))
  blurred = random.random() < 0.25
  blur = motion_blur.draw(random)
  return Warp(
    brightness if both or first else 0,
    saturation if both or not first else 0,
    tuple((float(x), float(y)) for x, y in inwards),
    rotation,
    shift,
    blur if blurred else None,
  )


def apply(
  frame: np.ndarray, masks: np.ndarray, warp: Warp
) -> tuple[np.ndarray, np.ndarray]:
  """Frame uint8[H, W, 3] and masks bool[..., H, W] warped, zeros outside."""
  image = PIL.Image.fromarray(_recolour(frame, warp))
  size = image.size
  rotation = _rotation(warp, size)
  source = _perspective(warp, size) @ rotation
  coefficients = tuple((source / source[2, 2]).ravel()[:8])
  inside = PIL.Image.new("L", size, 255).transform(
    size, PIL.Image.Transform.AFFINE, tuple(rotation.ravel()[:6])
  )
  inside = np.asarray(inside) > 0
  moved = image.transform(
    size,
    PIL.Image.Transform.PERSPECTIVE,
    coefficients,
    PIL.Image.Resampling.BILINEAR,
  )
  moved_masks = np.empty(masks.shape, bool)
  for i in np.ndindex(masks.shape[:-2]):
    mask = PIL.Image.fromarray(masks[i].astype(np.uint8)).transform(
      size, PIL.Image.Transform.PERSPECTIVE, coefficients
    )
    moved_masks[i] = np.asarray(mask) & inside
  frame = np.asarray(moved) * inside[..., None]
  if warp.blur:
    frame = motion_blur.apply(frame, warp.blur)
  return frame, moved_masks


def _recolour(frame, warp):
  if warp.brightness:
    shifted = frame.astype(np.int16) + warp.brightness
    frame = np.clip(shifted, 0, 255).astype(np.uint8)
  if warp.saturation:
    hue, saturation, value = PIL.Image.fromarray(frame).convert("HSV").split()
    # Half degrees officially, 256 steps a turn here.
    turn = round(int(warp.saturation * 180 / 255) * 2 * 256 / 360)
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    saturation = saturation.point(
      [min(max(level + warp.saturation, 0), 255) for level in range(256)]
    )
    bands = (hue, saturation, value)
    frame = np.asarray(PIL.Image.merge("HSV", bands).convert("RGB"))
  return frame


def _rotation(warp, size):
  """[3, 3]: target to source pixel of the rotation and shift about the
  centre."""
  angle = np.deg2rad(warp.rotation)
  cos, sin = np.cos(angle), np.sin(angle)
  centre = np.array(size) / 2
  back = np.array([[cos, sin], [-sin, cos]])
  matrix = np.eye(3)
  matrix[:2, :2] = back
  matrix[:2, 2] = centre - back @ (centre + warp.shift * np.array(size))
  return matrix


def _perspective(warp, size):
  """[3, 3]: target to source pixel; the frame's corners go to the
  quadrilateral's."""
  inwards = np.array(warp.inwards) * np.where(_CORNERS > 0, -1, 1)
  corners = _CORNERS * size
  rows, values = [], []
  for (x, y), (u, v) in zip(corners, corners + inwards * size):
    rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
    rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    values += [u, v]
  solution = np.linalg.solve(np.array(rows), np.array(values))
  return np.append(solution, 1).reshape(3, 3)
