"""Random brightness, contrast, saturation and channel order of each frame.

The official distortion works on float pixels in HSV. Its result is
  contrast * (V + saturation * (c - V)),  V = max of the three channels,
with c and V brightened and clipped before: a function of two bytes, so a
table of all pairs gives it without any float image. The hue never changes.
The official order (contrast before or after the rest, by a coin) makes no
difference. Values may differ by one grey level from the official ones, whose
way through HSV rounds.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.ops import base

_PERMUTATIONS = tuple(itertools.permutations(range(3)))
# Rows whose indices, of eight bytes, stay in the second-level cache.
_BLOCK_PIXELS = 1 << 14


@dataclasses.dataclass(frozen=True)
class Distortion:
  """What happens to one frame; by default nothing.

  Attributes:
    brightness: added, in grey levels.
    contrast: factor of the pixels.
    saturation: factor of the distance to the strongest channel.
    channels: channel i of the result is channel `channels[i]`.
  """

  brightness: float = 0.0
  contrast: float = 1.0
  saturation: float = 1.0
  channels: tuple[int, ...] = (0, 1, 2)


def draw(random: np.random.Generator) -> Distortion:
  """Each part with even odds; a channel order of six with one in five."""
  coins = random.random(3) < 0.5
  brightness = random.uniform(-32, 32)
  contrast, saturation = random.uniform(0.8, 1.2, 2)
  permuted = random.random() < 0.2
  choice = _PERMUTATIONS[int(random.integers(len(_PERMUTATIONS)))]
  return Distortion(
    float(brightness) if coins[0] else 0.0,
    float(contrast) if coins[1] else 1.0,
    float(saturation) if coins[2] else 1.0,
    choice if permuted else (0, 1, 2),
  )


def distort(
  frame: np.ndarray,
  distortion: Distortion,
  *,
  wrap: bool = False,
  out: np.ndarray | None = None,
) -> np.ndarray:
  """uint8[H, W, 3] -> uint8[H, W, 3].

  Args:
    frame: RGB.
    distortion: what to do.
    wrap: values outside 0..255 wrap round modulo 256, as they officially do,
      instead of being clipped.
    out: to write the result into.
  """
  out = np.empty(frame.shape, np.uint8) if out is None else out
  d = distortion
  levels = np.arange(256, dtype=np.float32)
  levels = np.clip(levels + np.float32(d.brightness), 0, 255)
  if d.saturation == 1:
    table = _to_bytes(levels * d.contrast, wrap)
    _look_up(out, frame, table, d.channels)
  else:
    strongest = levels[:, None]
    pairs = strongest + d.saturation * (levels - strongest)
    table = _to_bytes(pairs * d.contrast, wrap).ravel()
    _look_up_pairs(out, frame, table, d.channels)
  return out


def _to_bytes(values, wrap):
  if wrap:
    return values.astype(np.int32).astype(np.uint8)
  return np.clip(values, 0, 255).astype(np.uint8)


def _look_up(out, frame, table, channels):
  # Four times as fast as indexing with the frame.
  mapped = frame.tobytes().translate(table.tobytes())
  mapped = np.frombuffer(mapped, np.uint8).reshape(frame.shape)
  if channels == (0, 1, 2):
    out[:] = mapped
  else:
    for target, source in enumerate(channels):
      out[..., target] = mapped[..., source]


def _look_up_pairs(out, frame, table, channels):
  height, width, _ = frame.shape
  step = max(1, _BLOCK_PIXELS // width)
  # Little-endian pairs: the low byte is the channel, the high one V.
  pairs = np.empty((step, width, 3), "<u2")
  halves = pairs.view(np.uint8).reshape(step, width, 3, 2)
  for top in range(0, height, step):
    block = frame[top : top + step]
    rows = len(block)
    low = np.maximum(block[..., 0], block[..., 1])
    strongest = np.maximum(low, block[..., 2], out=low)
    for target, source in enumerate(channels):
      halves[:rows, :, target, 0] = block[..., source]
      halves[:rows, :, target, 1] = strongest
    # Without the check of bounds there is no extra copy.
    np.take(table, pairs[:rows], out=out[top : top + step], mode="clip")


@dataclasses.dataclass(frozen=True)
class RandomPhotometric(base.Op):
  """Distorts every frame independently.

  Attributes:
    wrap: see `distort`.
  """

  wrap: bool = False

  def __call__(self, example, seed):
    random = seeds.generator(*seed)
    frames = example["frames"]
    distorted = np.empty(frames.shape, np.uint8)
    for target, frame in zip(distorted, frames):
      distort(frame, draw(random), wrap=self.wrap, out=target)
    return {**example, "frames": distorted}
