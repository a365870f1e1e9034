"""Deformable attention in plain XLA, with an explicit backward pass.

Two forms, because gathers cost very different things:
- CPU with many queries: a scan over (level, point) whose body XLA fuses into
  one loop of four gathers, so the gathered rows are never written to memory;
  the backward pass goes over chunks of queries. Frames one at a time keep the
  value table in cache.
- elsewhere, and for few queries: gathered rows contracted by an einsum.

Residuals are the three inputs only: autodiff of either form would keep
gigabytes of gathered rows.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

_MANY_QUERIES = 64
# Gathered rows of one chunk in the backward pass: they should stay in cache.
_BACKWARD_CHUNK_BYTES = 4 * 2**20
_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def sample(values, locations, weights, level_shapes):
  """See `api.deformable_attention`; all arguments checked there."""
  return _forward(values, locations, weights, level_shapes)


def _forward(values, locations, weights, level_shapes):
  scan = functools.partial(_sample_scan, level_shapes=level_shapes)
  rows = functools.partial(_sample_rows, level_shapes=level_shapes)
  if locations.shape[1] < _MANY_QUERIES:
    return jax.vmap(scan)(values, locations, weights)
  return jax.lax.platform_dependent(
    values,
    locations,
    weights,
    cpu=lambda *args: jax.lax.map(lambda frame: scan(*frame), args),
    default=jax.vmap(rows),
  )


def _forward_rule(values, locations, weights, level_shapes):
  out = _forward(values, locations, weights, level_shapes)
  return out, (values, locations, weights)


def _backward_rule(level_shapes, residuals, cotangent):
  rows = functools.partial(_gradients_rows, level_shapes=level_shapes)
  chunks = functools.partial(_gradients_chunks, level_shapes=level_shapes)
  args = (*residuals, cotangent)
  if cotangent.shape[1] < _MANY_QUERIES:
    return jax.vmap(rows)(*args)
  return jax.lax.platform_dependent(
    *args,
    cpu=lambda *args: jax.lax.map(lambda frame: chunks(*frame), args),
    default=jax.vmap(rows),
  )


sample.defvjp(_forward_rule, _backward_rule)


def _corner(x, y, dx, dy, width, height, start):
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


def _level_constants(level_shapes):
  """(widths, heights, starts), each int32[V]."""
  heights, widths = np.array(level_shapes, np.int32).T
  starts = np.concatenate([[0], np.cumsum(heights * widths)[:-1]])
  return widths, heights, starts.astype(np.int32)


def _sample_scan(values, locations, weights, level_shapes):
  """One frame: values [S, M, D], locations [Q, M, V, P, 2] -> [Q, M * D]."""
  s, m, d = values.shape
  q, _, v, p, _ = locations.shape
  table = values.reshape(s * m, d)
  head = jnp.arange(m)
  constants = [np.repeat(c, p) for c in _level_constants(level_shapes)]
  # [V * P, Q, M]
  points = jnp.moveaxis(locations.reshape(q, m, v * p, 2), 2, 0)
  points = points.astype(jnp.float32)
  per_point = jnp.moveaxis(weights.reshape(q, m, v * p), 2, 0)

  def add_point(total, step):
    point, weight, width, height, start = step
    x = point[..., 0] * width - 0.5
    y = point[..., 1] * height - 0.5
    for dx, dy in _CORNERS:
      row, inside, bilinear, _, _ = _corner(x, y, dx, dy, width, height, start)
      factor = jnp.where(inside, bilinear * weight, 0.0)
      total = total + factor[..., None] * table[row * m + head]
    return total, None

  total = jnp.zeros((q, m, d), jnp.float32)
  total, _ = jax.lax.scan(add_point, total, (points, per_point, *constants))
  return total.astype(values.dtype).reshape(q, m * d)


def _all_corners(locations, level_shapes):
  """`_corner` of [Q, M, V, P, 2] locations, each result [Q, M, V, P, 4]."""
  widths, heights, starts = (
    c[:, None, None] for c in _level_constants(level_shapes)
  )
  locations = locations.astype(jnp.float32)[..., None]
  x = locations[..., 0, :] * widths - 0.5
  y = locations[..., 1, :] * heights - 0.5
  # Broadcast, not stacked: XLA:CPU fuses the one and copies the other.
  dx, dy = np.array(_CORNERS, np.int32).T
  return [
    jnp.broadcast_to(part, (*locations.shape[:4], 4))
    for part in _corner(x, y, dx, dy, widths, heights, starts)
  ]


def _sample_rows(values, locations, weights, level_shapes):
  """One frame as gathered rows and an einsum, see `_sample_scan`."""
  s, m, d = values.shape
  q = locations.shape[0]
  row, inside, bilinear, _, _ = _all_corners(locations, level_shapes)
  factor = jnp.where(inside, bilinear * weights[..., None], 0.0)
  index = (row * m + np.arange(m)[:, None, None, None]).reshape(q, m, -1)
  rows = values.reshape(s * m, d)[index]
  out = jnp.einsum(
    "qmk,qmkd->qmd",
    factor.reshape(q, m, -1),
    rows,
    preferred_element_type=jnp.float32,
  )
  return out.astype(values.dtype).reshape(q, m * d)


def _gradients_rows(values, locations, weights, cotangent, level_shapes):
  """Gradients of one frame with respect to its three inputs."""
  s, m, d = values.shape
  d_values = jnp.zeros((s * m, d), jnp.float32)
  d_values, d_locations, d_weights = _accumulate(
    d_values, values, locations, weights, cotangent, level_shapes
  )
  return (
    d_values.reshape(s, m, d).astype(values.dtype),
    d_locations.astype(locations.dtype),
    d_weights.astype(weights.dtype),
  )


def _accumulate(d_values, values, locations, weights, cotangent, level_shapes):
  """Adds one set of queries to d_values [S * M, D]; its other gradients."""
  s, m, d = values.shape
  q = locations.shape[0]
  widths, heights, _ = (c[:, None] for c in _level_constants(level_shapes))
  row, inside, bilinear, slope_x, slope_y = _all_corners(
    locations, level_shapes
  )
  shape = row.shape
  index = (row * m + np.arange(m)[:, None, None, None]).reshape(q, m, -1)
  rows = values.reshape(s * m, d)[index]
  cotangent = cotangent.reshape(q, m, d).astype(jnp.float32)
  # dot_general with batch dimensions: a reduction over 32 channels would be
  # scalar code on XLA:CPU.
  dots = jnp.einsum(
    "qmkd,qmd->qmk", rows, cotangent, preferred_element_type=jnp.float32
  )
  dots = jnp.where(inside, dots.reshape(shape), 0.0)
  d_weights = jnp.sum(bilinear * dots, -1)
  d_x = weights * jnp.sum(slope_x * dots, -1) * widths
  d_y = weights * jnp.sum(slope_y * dots, -1) * heights
  factor = jnp.where(inside, bilinear * weights[..., None], 0.0)
  updates = factor.reshape(q, m, -1)[..., None] * cotangent[:, :, None]
  d_values = d_values.at[index].add(updates)
  return d_values, jnp.stack([d_x, d_y], -1), d_weights


def _gradients_chunks(values, locations, weights, cotangent, level_shapes):
  """`_gradients_rows` in chunks of queries, for the cache and for memory."""
  s, m, d = values.shape
  q = locations.shape[0]
  bytes_per_query = 4 * d * 4 * weights[0].size
  num_chunks = -(-q * bytes_per_query // _BACKWARD_CHUNK_BYTES)
  chunk = -(-q // num_chunks)
  padding = num_chunks * chunk - q

  def chunked(x):
    x = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(num_chunks, chunk, *x.shape[1:])

  def add_chunk(d_values, chunk):
    d_values, *others = _accumulate(d_values, values, *chunk, level_shapes)
    return d_values, others

  d_values, (d_locations, d_weights) = jax.lax.scan(
    add_chunk,
    jnp.zeros((s * m, d), jnp.float32),
    (chunked(locations), chunked(weights), chunked(cotangent)),
  )
  return (
    d_values.reshape(s, m, d).astype(values.dtype),
    d_locations.reshape(-1, *locations.shape[1:])[:q].astype(locations.dtype),
    d_weights.reshape(-1, *weights.shape[1:])[:q].astype(weights.dtype),
  )
