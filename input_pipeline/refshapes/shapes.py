"""Outlines and textures of RefShapes objects, as functions of the plane.

Coordinates are an object's own: origin at its centre, radius 1, y down. A
distance is negative inside; near the outline it is the Euclidean distance,
which is all that anti-aliasing needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Plane = np.ndarray  # float[..., S, S]


def _circle(x: Plane, y: Plane) -> Plane:
  return np.sqrt(x * x + y * y) - 1.0


def _square(x: Plane, y: Plane) -> Plane:
  return np.maximum(np.abs(x), np.abs(y)) - 0.88


def _triangle(x: Plane, y: Plane) -> Plane:
  # Apex up; the centroid lies at the origin.
  sides = 0.8660254 * np.abs(x) - 0.5 * y
  return np.maximum(sides, y) - 0.62


def _star(x: Plane, y: Plane) -> Plane:
  # Fold the plane onto half a point, then measure to that point's one edge.
  angle = np.arctan2(np.abs(x), -y)
  fold = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
  radius = np.sqrt(x * x + y * y)
  u, v = radius * np.cos(fold), radius * np.sin(fold)
  tip, notch = 1.18, 0.56
  nu, nv = notch * np.cos(np.pi / 5), notch * np.sin(np.pi / 5)
  length = np.hypot(nv, tip - nu)
  return ((u - tip) * nv + v * (tip - nu)) / length


def _ring(x: Plane, y: Plane) -> Plane:
  return np.abs(np.sqrt(x * x + y * y) - 0.77) - 0.26


def _cross(x: Plane, y: Plane) -> Plane:
  x, y = np.abs(x), np.abs(y)
  upright = np.maximum(x - 0.34, y - 1.0)
  lying = np.maximum(x - 1.0, y - 0.34)
  return np.minimum(upright, lying)


def _heart(x: Plane, y: Plane) -> Plane:
  # A square on its corner with a disc on each upper edge.
  x, y = np.abs(x), y - 0.157
  half = 0.58
  corner = 0.7071068 * (x + np.abs(y - 0.1))
  lobe_x = 0.5 * 0.7071068 * 2 * half
  lobe = np.sqrt((x - lobe_x) ** 2 + (y - 0.1 + lobe_x) ** 2) - half
  return np.minimum(corner - 0.7071068 * 2 * lobe_x, lobe)


def _diamond(x: Plane, y: Plane) -> Plane:
  wide, tall = 0.72, 1.2
  return (np.abs(x) * tall + np.abs(y) * wide - wide * tall) / np.hypot(
    wide, tall
  )


def _crescent(x: Plane, y: Plane) -> Plane:
  x = x - 0.338
  outer = np.sqrt(x * x + y * y) - 1.0
  bite = np.sqrt((x - 0.62) ** 2 + y * y) - 0.78
  return np.maximum(outer, -bite)


DISTANCE: dict[str, Callable[[Plane, Plane], Plane]] = {
  "circle": _circle,
  "square": _square,
  "triangle": _triangle,
  "star": _star,
  "ring": _ring,
  "cross": _cross,
  "heart": _heart,
  "diamond": _diamond,
  "crescent": _crescent,
}
# Factors that give every outline the same area, 2.5 square units, so that a
# size class means the same for all shapes.
_ENLARGED = {
  "circle": 0.892,
  "square": 0.897,
  "triangle": 1.12,
  "star": 1.135,
  "ring": 0.997,
  "cross": 1.052,
  "heart": 1.02,
  "diamond": 1.203,
  "crescent": 1.188,
}
AREA = 2.5
# Enlarged, no outline leaves this disc.
REACH = 1.48


def _stripes(x: Plane, y: Plane) -> Plane:
  return np.sin((0.94 * x + 0.34 * y) * 10.5) - 0.25


def _dots(x: Plane, y: Plane) -> Plane:
  return np.cos(x * 10.0) + np.cos(y * 10.0) - 0.75


def _checks(x: Plane, y: Plane) -> Plane:
  return 1.5 * np.sin(x * 7.5) * np.sin(y * 7.5)


TEXTURE: dict[str, Callable[[Plane, Plane], Plane]] = {
  "striped": _stripes,
  "dotted": _dots,
  "checkered": _checks,
}


def coverage(shape: str, x: Plane, y: Plane, radius: Plane) -> Plane:
  """Share of each pixel that the shape covers, in [0, 1].

  Args:
    shape: a key of `DISTANCE`.
    x, y: float[..., S, S], own coordinates of the pixel centres.
    radius: pixels per own unit, broadcast against x.
  """
  factor = _ENLARGED[shape]
  x, y, radius = x / factor, y / factor, radius * factor
  return np.clip(0.5 - DISTANCE[shape](x, y) * radius, 0.0, 1.0)


def accent(texture: str, x: Plane, y: Plane, radius: Plane) -> Plane:
  """Share of the accent colour at each pixel, in [0, 1]."""
  return np.clip(0.5 + TEXTURE[texture](x, y) * radius * 0.12, 0.0, 1.0)
