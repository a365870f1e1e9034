"""The four pixels round each sample point and their bilinear weights."""

from __future__ import annotations

import jax.numpy as jnp

from sgmg_jax import precision
from sgmg_jax.kernels.deform_attn import problem

CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))


def one(x, y, dx, dy, width, height, start):
  """One corner of each sample point; all arguments broadcast.

  Args:
    x, y: float, pixel coordinates, 0 at the first pixel's centre.
    dx, dy: 0 or 1, which corner.
    width, height, start: int, the level's size and first row.

  Returns:
    (row, inside, weight, d weight / dx, d weight / dy).
  """
  # Far-off coordinates must not overflow the integer conversion.
  x = jnp.clip(x, -2.0, width + 1.0)
  y = jnp.clip(y, -2.0, height + 1.0)
  x0, y0 = jnp.floor(x), jnp.floor(y)
  slope_x, slope_y = 2.0 * dx - 1.0, 2.0 * dy - 1.0
  weight_x = (1 - dx) + slope_x * (x - x0)
  weight_y = (1 - dy) + slope_y * (y - y0)
  column = x0.astype(jnp.int32) + dx
  line = y0.astype(jnp.int32) + dy
  inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
  row = start + jnp.clip(line, 0, height - 1) * width
  row = row + jnp.clip(column, 0, width - 1)
  weights = (weight_x * weight_y, slope_x * weight_y, weight_x * slope_y)
  return row, inside, *weights


def window(location, size):
  """The two pixels round each coordinate, on an axis with a border.

  Args:
    location: float, 0 to 1 from outer edge to outer edge.
    size: int, pixels of the axis, without the border of one on both sides.

  Returns:
    (index of the first one on the bordered axis, share of the second one,
    whether any of them is inside).
  """
  x = jnp.clip(location * size - 0.5, -2.0, size + 1.0)
  first = jnp.floor(x)
  share = x - first
  first = first.astype(jnp.int32)
  inside = (first >= -1) & (first < size)
  return jnp.clip(first, -1, size - 1) + 1, share, inside


def levels(level_shapes):
  """(widths, heights, starts) of the levels, three tuples of V int."""
  heights, widths = zip(*level_shapes)
  return widths, heights, problem.starts(level_shapes)


def of_all(locations, level_shapes):
  """`one` of [Q, M, V, P, 2] locations, each result [Q, M, V, P, 4]."""
  widths, heights, starts = (
    constant(c)[:, None, None] for c in levels(level_shapes)
  )
  locations = precision.at_least_float32(locations)[..., None]
  x = locations[..., 0, :] * widths - 0.5
  y = locations[..., 1, :] * heights - 0.5
  # Broadcast, not stacked: XLA:CPU fuses the one and copies the other.
  corner = jnp.arange(4)
  dx, dy = corner % 2, corner // 2
  return [
    jnp.broadcast_to(part, (*locations.shape[:4], 4))
    for part in one(x, y, dx, dy, widths, heights, starts)
  ]


def constant(numbers):
  """int32[len(numbers)] as part of the program: a NumPy array would become a
  captured constant, which custom partitioning does not take."""
  return jnp.concatenate([jnp.full(1, n, jnp.int32) for n in numbers])
