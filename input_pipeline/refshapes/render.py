"""Draws a scene: frames, whole outlines and visible masks."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from sgmg_jax.input_pipeline.refshapes import scene as scene_lib
from sgmg_jax.input_pipeline.refshapes import shapes


@dataclasses.dataclass(frozen=True)
class Rendering:
  """A scene drawn at T instants.

  Attributes:
    frames: uint8[T, H, W, 3], RGB.
    outlines: bool[O, T, H, W], each object as if nothing hid it.
    masks: bool[O, T, H, W], its visible pixels; disjoint between objects.
  """

  frames: np.ndarray
  outlines: np.ndarray
  masks: np.ndarray


def frame_times(num_frames: int) -> np.ndarray:
  """float[T] in [0, 1]; a single frame shows the middle of the scene."""
  if num_frames == 1:
    return np.array([0.5])
  return np.linspace(0.0, 1.0, num_frames)


def render(
  scene: scene_lib.Scene, *, num_frames: int, height: int, width: int
) -> Rendering:
  """Draws `scene` at `num_frames` even instants, far objects first.

  Every object is evaluated only in a window around it, all frames at once,
  from analytic distances: about a millisecond an object at 160 pixels.
  """
  times = frame_times(num_frames)
  canvas = _background(scene.background_seed, times, height, width)
  size = (len(scene.bodies), num_frames, height, width)
  outlines = np.zeros(size, bool)
  masks = np.zeros(size, bool)
  for i in scene.depth:
    _draw(scene.bodies[i], times, canvas, outlines[i])
  hidden = np.zeros(size[1:], bool)
  for i in reversed(scene.depth):
    np.greater(outlines[i], hidden, out=masks[i])
    hidden |= outlines[i]
  return Rendering((canvas + 0.5).astype(np.uint8), outlines, masks)


def _draw(
  body: scene_lib.Body,
  times: np.ndarray,
  canvas: np.ndarray,
  outline: np.ndarray,
) -> None:
  """Blends one body into canvas float32[T, H, W, 3], sets its outline."""
  height, width = canvas.shape[1:3]
  short = min(height, width)
  centres = body.motion.centres(times) * short - 0.5
  radii = body.radius * short * body.motion.scales(times)
  half = int(np.ceil(radii.max() * shapes.REACH)) + 1
  left, top = (np.floor(centres).astype(int) - half).T
  side = 2 * half + 2
  shown = np.flatnonzero(
    (left > -side) & (top > -side) & (left < width) & (top < height)
  )
  if not shown.size:
    return
  # Own coordinates of the window's pixels, float32[T, S, S].
  steps = np.arange(side)
  radii = radii[shown, None, None].astype(np.float32)
  dx = steps + (left - centres[:, 0])[shown, None]
  dy = steps + (top - centres[:, 1])[shown, None]
  dx = dx[:, None, :].astype(np.float32) / radii
  dy = dy[:, :, None].astype(np.float32) / radii
  angles = body.motion.angles(times, body.radius)[shown, None, None]
  c, s = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
  x, y = c * dx + s * dy, c * dy - s * dx

  alpha = shapes.coverage(body.shape, x, y, radii)
  # Light from above gives the surface some relief.
  light = 1.0 - 0.14 * dy
  rgb = np.array(body.rgb, np.float32)
  colour = np.broadcast_to(light, x.shape)[..., None] * rgb
  if body.texture != "plain":
    share = shapes.accent(body.texture, x, y, radii) * light
    colour = colour + share[..., None] * (
      np.array(body.accent, np.float32) - rgb
    )
  np.clip(colour, 0.0, 255.0, out=colour)
  for k, t in enumerate(shown):
    y0, y1 = max(top[t], 0), min(top[t] + side, height)
    x0, x1 = max(left[t], 0), min(left[t] + side, width)
    window = np.s_[y0 - top[t] : y1 - top[t], x0 - left[t] : x1 - left[t]]
    part = alpha[k][window]
    below = canvas[t, y0:y1, x0:x1]
    below += part[..., None] * (colour[k][window] - below)
    outline[t, y0:y1, x0:x1] = part > 0.5


def _background(
  seed: int, times: np.ndarray, height: int, width: int
) -> np.ndarray:
  """float32[T, H, W, 3]: a dull textured ground, panned slowly."""
  rng = np.random.default_rng(seed)
  short = min(height, width)
  pan = rng.uniform(-0.1, 0.1, 2) * short * (rng.random() < 0.4)
  shifts = np.round(times[:, None] * pan).astype(int)
  shifts -= shifts.min(0)
  tall, wide = np.array([height, width]) + shifts.max(0)

  # Two dull colours of one brightness range, mixed along a gradient.
  grey = rng.uniform(95, 165)
  first, second = grey + rng.uniform(-26, 26, (2, 3))
  y = np.linspace(-0.5, 0.5, tall, dtype=np.float32)[:, None] * tall / short
  x = np.linspace(-0.5, 0.5, wide, dtype=np.float32) * wide / short
  turn = rng.uniform(0, 2 * np.pi)
  u, v = (
    np.cos(turn) * x + np.sin(turn) * y,
    np.cos(turn) * y - np.sin(turn) * x,
  )
  mix = np.clip(u + 0.5, 0.0, 1.0)

  pattern = int(rng.integers(5))
  scale = rng.uniform(18, 45)
  if pattern == 0:
    relief = np.sin(u * scale)
  elif pattern == 1:
    relief = np.sign(np.sin(u * scale) * np.sin(v * scale))
  elif pattern == 2:
    relief = np.sin(u * scale + 2 * np.sin(v * scale * 0.3))
  elif pattern == 3:
    relief = _smooth_noise(rng, int(rng.integers(14, 30)), tall, wide)
  else:
    relief = np.maximum(np.abs(np.sin(u * scale)), np.abs(np.sin(v * scale)))
    relief = 2.0 * (relief > 0.97)
  relief = relief * rng.uniform(5, 13)
  relief = relief + 14 * _smooth_noise(rng, 6, tall, wide)
  relief = relief + 4 * rng.standard_normal((tall, wide), dtype=np.float32)
  ground = np.empty((tall, wide, 3), np.float32)
  for k in range(3):
    ground[..., k] = first[k] + (second[k] - first[k]) * mix + relief
  np.clip(ground, 0.0, 255.0, out=ground)
  return np.stack([ground[r : r + height, c : c + width] for r, c in shifts])


def _smooth_noise(
  rng: np.random.Generator, cells: int, tall: int, wide: int
) -> np.ndarray:
  coarse = rng.standard_normal((cells, cells), dtype=np.float32)
  return np.asarray(
    Image.fromarray(coarse).resize((wide, tall), Image.Resampling.BICUBIC)
  )
