"""Facts of a clip: the numbers that sentences are judged by."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from sgmg_jax.input_pipeline.refshapes import render as render_lib
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

# An object counts as seen in a frame from this visible share of its outline.
SEEN_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class Facts:
  """Measurements of O objects in T frames, lengths in short sides.

  Attributes:
    extent: (width, height) of the frame.
    centres: float[O, T, 2], true centres, also where hidden or off screen.
    radii: float[O, T].
    share: float[O, T], visible part of the whole object, off-screen parts
      included in the whole.
    absent: bool[O, T], no pixel of the outline falls into the frame.
    overlap: float[O, O, T], part of the smaller of two outlines that the two
      share within the frame.
    rank: int[O], larger is nearer to the viewer.
  """

  bodies: tuple[scene_lib.Body, ...]
  extent: tuple[float, float]
  centres: np.ndarray
  radii: np.ndarray
  share: np.ndarray
  absent: np.ndarray
  overlap: np.ndarray
  rank: np.ndarray

  @property
  def num_objects(self) -> int:
    return len(self.bodies)

  @property
  def num_frames(self) -> int:
    return self.centres.shape[1]

  @functools.cached_property
  def seen(self) -> np.ndarray:
    """bool[O, T]."""
    return self.share >= SEEN_SHARE

  @functools.cached_property
  def num_seen(self) -> np.ndarray:
    """int[O], frames in which the object is seen."""
    return self.seen.sum(1)

  @functools.cached_property
  def both_seen(self) -> np.ndarray:
    """bool[O, O, T]."""
    return self.seen[:, None] & self.seen[None]

  @functools.cached_property
  def place(self) -> np.ndarray:
    """float[O, T, 2], centres as fractions of the frame, kept inside it."""
    return np.clip(self.centres / np.array(self.extent), 0.0, 1.0)

  @functools.cached_property
  def offset(self) -> np.ndarray:
    """float[O, O, T, 2], from the second object's centre to the first's."""
    return self.centres[:, None] - self.centres[None]

  @functools.cached_property
  def first_seen(self) -> np.ndarray:
    """int[O], 0 if never."""
    return self.seen.argmax(1)

  @functools.cached_property
  def last_seen(self) -> np.ndarray:
    """int[O], T - 1 if never."""
    return self.num_frames - 1 - self.seen[:, ::-1].argmax(1)

  @functools.cached_property
  def displacement(self) -> np.ndarray:
    """float[O, 2], from the first to the last frame that shows the object."""
    rows = np.arange(self.num_objects)
    return (
      self.centres[rows, self.last_seen] - self.centres[rows, self.first_seen]
    )

  @functools.cached_property
  def steps(self) -> np.ndarray:
    """float[O, T - 1, 2], moves between frames, 0 outside what is shown."""
    steps = np.diff(self.centres, axis=1)
    t = np.arange(self.num_frames - 1)
    shown = (t >= self.first_seen[:, None]) & (t < self.last_seen[:, None])
    return steps * shown[..., None]

  @functools.cached_property
  def path_length(self) -> np.ndarray:
    """float[O], length of the way while shown."""
    return np.sqrt((self.steps**2).sum(2)).sum(1)

  @functools.cached_property
  def speed(self) -> np.ndarray:
    """float[O], mean length of a move between frames while shown."""
    return self.path_length / np.maximum(self.last_seen - self.first_seen, 1)

  @functools.cached_property
  def backtrack(self) -> np.ndarray:
    """float[O, 2], way made against the displacement, along each axis."""
    against = np.maximum(-self.steps * np.sign(self.displacement)[:, None], 0)
    return against.sum(1)

  @functools.cached_property
  def entry(self) -> np.ndarray:
    """float[O], when the object appears: midway between the frame of its
    first pixel and the first that shows enough of it."""
    return (self.first_seen + (~self.absent).argmax(1)) / 2

  @functools.cached_property
  def exit(self) -> np.ndarray:
    """float[O], when the object disappears, see `entry`."""
    last_pixel = self.num_frames - 1 - (~self.absent)[:, ::-1].argmax(1)
    return (self.last_seen + last_pixel) / 2

  @functools.cached_property
  def enters(self) -> np.ndarray:
    """bool[O], wholly off screen at first, seen later."""
    return self.absent[:, 0] & (self.num_seen > 0)

  @functools.cached_property
  def leaves(self) -> np.ndarray:
    """bool[O], seen first, wholly off screen at the end."""
    return self.absent[:, -1] & (self.num_seen > 0)


def measure(scene: scene_lib.Scene, rendering: render_lib.Rendering) -> Facts:
  """Measures the clip that `rendering` shows of `scene`."""
  num_frames, height, width = rendering.masks.shape[1:]
  times = render_lib.frame_times(num_frames)
  centres = np.stack([b.motion.centres(times) for b in scene.bodies])
  scales = np.stack([b.motion.scales(times) for b in scene.bodies])
  radii = np.array([b.radius for b in scene.bodies])[:, None] * scales

  count, pixels = len(scene.bodies), height * width
  outlines = rendering.outlines.reshape(count, num_frames, pixels)
  drawn = _count(outlines)
  visible = _count(rendering.masks.reshape(count, num_frames, pixels))
  # The largest area drawn, at the scale of each frame, is the whole object's.
  whole = (drawn / scales**2).max(1, keepdims=True) * scales**2
  overlap = np.zeros((count, count, num_frames))
  for i in range(count):
    for j in range(i):
      distance = np.hypot(*(centres[i] - centres[j]).T)
      if (distance < 1.4 * (radii[i] + radii[j])).any():
        common = _count(outlines[i] & outlines[j])
        smaller = np.maximum(np.minimum(drawn[i], drawn[j]), 1)
        overlap[i, j] = overlap[j, i] = common / smaller
  rank = np.empty(count, int)
  rank[list(scene.depth)] = np.arange(count)
  return Facts(
    bodies=scene.bodies,
    extent=(scene.width, scene.height),
    centres=centres,
    radii=radii,
    share=visible / np.maximum(whole, 1.0),
    absent=drawn == 0,
    overlap=overlap,
    rank=rank,
  )


def _count(masks: np.ndarray) -> np.ndarray:
  return np.count_nonzero(masks, axis=-1)
