"""Scenes of RefShapes clips: objects, their looks and their paths.

A scene is independent of resolution and frame rate. Lengths are in units of
the frame's short side (y points down), time runs over [0, 1], and everything
is drawn from the generator that is passed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

SHAPES = (
  "circle",
  "square",
  "triangle",
  "star",
  "ring",
  "cross",
  "heart",
  "diamond",
  "crescent",
)
ROUND = frozenset({"circle", "ring"})
COLOURS = {
  "red": (214, 34, 38),
  "green": (44, 160, 52),
  "blue": (34, 70, 212),
  "yellow": (246, 222, 44),
  "orange": (250, 134, 18),
  "purple": (132, 36, 170),
  "pink": (252, 142, 196),
  "turquoise": (40, 214, 208),
  "white": (246, 246, 246),
  "black": (20, 20, 22),
  "brown": (112, 62, 22),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
# Radius over the short side.
SIZES = {
  "small": (0.08, 0.09),
  "medium": (0.12, 0.13),
  "large": (0.17, 0.19),
}
# What an object does, with the odds.
ACTS = {
  "still": 0.12,
  "spin": 0.09,
  "grow": 0.05,
  "shrink": 0.05,
  "line": 0.2,
  "enter": 0.13,
  "leave": 0.12,
  "curve": 0.07,
  "circle": 0.05,
  "bounce": 0.07,
  "shuttle": 0.05,
}
NUM_OBJECTS = {2: 0.12, 3: 0.28, 4: 0.3, 5: 0.2, 6: 0.1}

_TEXTURE_ODDS = {
  "plain": 0.46,
  "striped": 0.2,
  "dotted": 0.17,
  "checkered": 0.17,
}
_SIZE_ODDS = {"small": 0.34, "medium": 0.36, "large": 0.3}
_SHARED_ODDS = {
  ("shape",): 0.27,
  ("colour",): 0.2,
  ("shape", "colour"): 0.18,
  ("shape", "texture"): 0.1,
  ("shape", "colour", "texture"): 0.15,
  ("shape", "colour", "texture", "size"): 0.1,
}

# Where paths are checked against the frame and each other.
_TIMES = np.linspace(0.0, 1.0, 11)


@dataclasses.dataclass(frozen=True)
class Motion:
  """Path, turn and growth of one object over time in [0, 1].

  Attributes:
    path: "still", "line", "curve", "circle", "bounce" or "shuttle".
    start: (x, y) at time 0; of "circle", its centre.
    travel: (dx, dy) by time 1; of "circle", the arm at time 0; of "shuttle",
      the turning point at half time.
    bulge: how far a "curve" leaves its chord or a "bounce" the ground; of
      "circle", the turn in radians.
    angle: orientation at time 0, radians clockwise.
    spin: radians turned over the clip, besides rolling.
    rolls: turns as a wheel does along its way.
    scale: factor on the radius at times 0 and 1.
  """

  path: str
  start: tuple[float, float]
  travel: tuple[float, float] = (0.0, 0.0)
  bulge: float = 0.0
  angle: float = 0.0
  spin: float = 0.0
  rolls: bool = False
  scale: tuple[float, float] = (1.0, 1.0)

  def centres(self, times: np.ndarray) -> np.ndarray:
    """float[T, 2], the (x, y) centres at `times` float[T]."""
    start, travel = np.asarray(self.start), np.asarray(self.travel)
    t = times[:, None]
    if self.path == "circle":
      c, s = np.cos(self.bulge * t), np.sin(self.bulge * t)
      return start + c * travel + s * np.array([-travel[1], travel[0]])
    if self.path == "shuttle":
      return start + (1.0 - np.abs(2.0 * t - 1.0)) * travel
    centres = start + t * travel
    if self.path == "curve":
      normal = np.array([-travel[1], travel[0]]) / np.hypot(*travel)
      centres += self.bulge * np.sin(np.pi * t) * normal
    elif self.path == "bounce":
      centres[:, 1] -= self.bulge * np.abs(np.sin(2.0 * np.pi * times))
    return centres

  def scales(self, times: np.ndarray) -> np.ndarray:
    """float[T], factors on the radius."""
    return self.scale[0] + (self.scale[1] - self.scale[0]) * times

  def angles(self, times: np.ndarray, radius: float) -> np.ndarray:
    """float[T], radians clockwise."""
    rolled = self.travel[0] * times / radius if self.rolls else 0.0
    return self.angle + self.spin * times + rolled


@dataclasses.dataclass(frozen=True)
class Body:
  """One object: words for its looks, the colours drawn, and its motion."""

  shape: str
  colour: str
  texture: str
  size: str
  radius: float
  rgb: tuple[float, float, float]
  accent: tuple[float, float, float]
  motion: Motion


@dataclasses.dataclass(frozen=True)
class Scene:
  """All of a clip but its resolution.

  Attributes:
    width, height: of the frame, in units of its short side.
    depth: indices of `bodies` from the farthest to the nearest.
    background_seed: seeds the background's texture.
  """

  width: float
  height: float
  bodies: tuple[Body, ...]
  depth: tuple[int, ...]
  background_seed: int


def sample_scene(rng: np.random.Generator, *, height: int, width: int) -> Scene:
  """Draws a scene of 2 to 6 objects for frames of height x width pixels.

  Objects share attributes on purpose, so that naming a colour or a shape
  alone often leaves several candidates.
  """
  short = min(height, width)
  extent = (width / short, height / short)
  wanted = int(_draw(rng, NUM_OBJECTS))
  bodies: list[Body] = []
  tracks: list[np.ndarray] = []
  acts: list[str] = []
  while len(bodies) < wanted:
    looks = _sample_looks(rng, bodies)
    # Some share what they do, so that order and direction must tell.
    repeat = acts and rng.random() < 0.2
    act = _pick(rng, acts) if repeat else _draw(rng, ACTS)
    # A crowded frame may have no room left for one more; two always fit.
    for _ in range(16):
      body = _sample_body(rng, looks, act, extent)
      track = body.motion.centres(_TIMES)
      if _clear(body, track, bodies, tracks):
        bodies.append(body)
        acts.append(act)
        tracks.append(track)
        break
    else:
      if len(bodies) >= 2:
        break
  return Scene(
    width=extent[0],
    height=extent[1],
    bodies=tuple(bodies),
    depth=tuple(int(i) for i in rng.permutation(len(bodies))),
    background_seed=int(rng.integers(2**31)),
  )


def _draw(rng: np.random.Generator, odds: dict):
  """A key of `odds`, as likely as its value says (values sum to 1)."""
  u = rng.random()
  for key, p in odds.items():
    u -= p
    if u < 0:
      return key
  return key


def _pick(rng: np.random.Generator, options: Sequence):
  return options[int(rng.integers(len(options)))]


def _sample_looks(
  rng: np.random.Generator, others: Sequence[Body]
) -> dict[str, str]:
  looks = {
    "shape": _pick(rng, SHAPES),
    "colour": _pick(rng, tuple(COLOURS)),
    "texture": _draw(rng, _TEXTURE_ODDS),
    "size": _draw(rng, _SIZE_ODDS),
  }
  if others and rng.random() < 0.8:
    # A distractor: it shares part of another object's description.
    model = _pick(rng, others)
    shared = _draw(rng, _SHARED_ODDS)
    looks.update({name: getattr(model, name) for name in shared})
  return looks


def _sample_body(
  rng: np.random.Generator, looks: dict[str, str], act: str, extent
) -> Body:
  radius = rng.uniform(*SIZES[looks["size"]])
  rgb = np.array(COLOURS[looks["colour"]]) + rng.normal(0, 7, 3)
  rgb = np.clip(rgb, 0, 255)
  accent = _accent(rng, looks["colour"], rgb)
  return Body(
    radius=float(radius),
    rgb=tuple(map(float, rgb)),
    accent=tuple(map(float, accent)),
    motion=_sample_motion(rng, radius, looks, act, extent),
    **looks,
  )


def _accent(rng: np.random.Generator, colour: str, rgb: np.ndarray):
  """A second tone for the texture that leaves no doubt about the colour."""
  if colour == "white":
    return rgb * 0.62
  if colour == "black":
    return rgb + 95.0
  light = float(rgb @ (0.299, 0.587, 0.114))
  if light > 170 or (light > 75 and rng.random() < 0.5):
    return rgb * 0.3
  return 0.2 * rgb + 0.8 * 245


def _sample_motion(
  rng: np.random.Generator, radius, looks, act: str, extent
) -> Motion:
  marked = looks["shape"] not in ROUND or looks["texture"] != "plain"
  if act == "spin" and not marked:
    act = "line"  # A plain disc that spins looks still.
  sign = _pick(rng, (-1.0, 1.0))
  motion = {"path": act, "angle": float(rng.uniform(-0.25, 0.25))}
  heading = _sample_heading(rng)
  # The side of the frame along the heading.
  side = float(np.abs(heading) @ extent / np.abs(heading).sum())
  if act == "spin":
    motion.update(path="still", spin=sign * rng.uniform(1.9, 3.2))
  elif act in ("grow", "shrink"):
    ratio = rng.uniform(1.8, 2.2)
    scale = (ratio**-0.5, ratio**0.5)
    motion.update(path="still", scale=scale if act == "grow" else scale[::-1])
  elif act == "line":
    motion.update(travel=tuple(heading * side * rng.uniform(0.28, 0.65)))
  elif act in ("enter", "leave"):
    motion.update(_cross_border(rng, radius, extent, act))
  elif act == "curve":
    travel = heading * side * rng.uniform(0.35, 0.6)
    bulge = sign * rng.uniform(0.35, 0.5) * np.hypot(*travel)
    motion.update(travel=tuple(travel), bulge=float(bulge))
  elif act == "circle":
    arm = heading * rng.uniform(0.14, 0.24)
    motion.update(travel=tuple(arm), bulge=sign * rng.uniform(5.0, 6.0))
  elif act == "bounce":
    travel = (sign * rng.uniform(0.3, 0.6) * extent[0], 0.0)
    motion.update(travel=travel, bulge=rng.uniform(0.2, 0.32))
  elif act == "shuttle":
    motion.update(travel=tuple(heading * side * rng.uniform(0.28, 0.5)))
  if motion["path"] == "line" and looks["shape"] in ROUND:
    motion.update(rolls=True)
  elif act in ("line", "curve", "enter", "leave") and rng.random() < 0.15:
    motion.update(spin=sign * rng.uniform(1.9, 3.2))
  if "start" not in motion:
    motion["start"] = _place(
      rng, Motion(start=(0.0, 0.0), **motion), radius, extent
    )
  return Motion(**motion)


def _place(rng: np.random.Generator, motion: Motion, radius, extent):
  """A start from which the whole path stays in the frame."""
  track = motion.centres(_TIMES)
  margin = 0.85 * radius * motion.scales(_TIMES)[:, None]
  low = (margin - track).max(0)
  high = (np.array(extent) - margin - track).min(0)
  middle, half = (low + high) / 2, np.maximum(high - low, 0.0) / 2
  return tuple((middle + half * rng.uniform(-1, 1, 2)).tolist())


def _sample_heading(rng: np.random.Generator) -> np.ndarray:
  """A unit vector, mostly along an axis, else well on a diagonal."""
  quarter = np.pi / 2 * int(rng.integers(4))
  if rng.random() < 0.25:
    angle = quarter + np.pi / 4 + rng.uniform(-0.15, 0.15)
  else:
    angle = quarter + rng.uniform(-0.2, 0.2)
  return np.array([np.cos(angle), np.sin(angle)])


def _cross_border(rng: np.random.Generator, radius, extent, act) -> dict:
  """A straight path from beyond the border into the frame, or back."""
  axis = int(rng.random() < 0.4)  # 0: through the left or right border
  sign = _pick(rng, (-1.0, 1.0))
  # Off screen until `entry`, then `depth` of the side is travelled inside.
  entry = rng.uniform(0.12, 0.45)
  depth = rng.uniform(0.35, 0.65) * extent[axis] + radius
  border = 0.0 if sign > 0 else extent[axis]
  reach = 1.1 * radius
  speed = (depth + reach) / (1.0 - entry)
  start, travel = [0.0, 0.0], [0.0, 0.0]
  start[axis] = border - sign * (reach + speed * entry)
  travel[axis] = sign * speed
  # Sideways it may drift as long as it shows all of its other side.
  across = 1 - axis
  low, high = radius, extent[across] - radius
  at_entry = rng.uniform(low, high)
  at_end = np.clip(at_entry + rng.uniform(-0.2, 0.2) * depth, low, high)
  travel[across] = float(at_end - at_entry) / (1.0 - entry)
  start[across] = float(at_end) - travel[across]
  if act == "leave":
    start = [s + d for s, d in zip(start, travel)]
    travel = [-d for d in travel]
  return {"path": "line", "start": tuple(start), "travel": tuple(travel)}


def _clear(body, track, others, tracks) -> bool:
  """Whether the path keeps mostly clear of the other objects."""
  radius = body.radius * body.motion.scales(_TIMES)
  for other, other_track in zip(others, tracks):
    reach = radius + other.radius * other.motion.scales(_TIMES)
    distance = np.hypot(*(track - other_track).T)
    if (distance < 0.8 * reach).mean() > 0.3:
      return False
  return True
