"""Backward pass of deformable attention in plain XLA, in two forms.

Each form takes one frame: values [S, M, D], locations [Q, M, V, P, 2], weights
[Q, M, V, P] and the cotangent [Q, M * D], and gives the gradients of the first
three in their dtypes. Autodiff of a forward pass would keep gigabytes of
gathered rows.
"""

from __future__ import annotations

import functools
import pathlib

import jax
import jax.numpy as jnp

from sgmg_jax import precision as precision_lib
from sgmg_jax.kernels.deform_attn import corners, lowering
from sgmg_jax.kernels.deform_attn import problem as problem_lib
from sgmg_jax.kernels.deform_attn.xla import forms

_CACHE = pathlib.Path("/sys/devices/system/cpu/cpu0/cache/index2/size")


def run(
  values,
  locations,
  weights,
  cotangent,
  *,
  level_shapes,
  precision=None,
  interpret=False,
):
  """Gradients of values, locations and weights, from [N, Q, M * D]."""
  del precision, interpret
  few = locations.shape[1] < problem_lib.FEW_QUERIES
  named = functools.partial(forms.named, level_shapes=level_shapes)
  by_frame = {
    "cpu": jax.vmap(named(rows)) if few else forms.one_by_one(named(windows)),
    "cuda": jax.vmap(named(rows)),
    "tpu": jax.vmap(named(rows)) if few else forms.one_by_one(named(rows)),
  }
  inputs = (values, locations, weights)
  gradients = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
  return tuple(lowering.call(by_frame.get, gradients, *inputs, cotangent))


def rows(values, locations, weights, cotangent, level_shapes):
  """All queries at once."""
  s, m, d = values.shape
  q = locations.shape[0]
  widths, heights, _ = (
    corners.constant(c)[:, None] for c in corners.levels(level_shapes)
  )
  row, inside, bilinear, slope_x, slope_y = corners.of_all(
    locations, level_shapes
  )
  index = (row * m + jnp.arange(m)[:, None, None, None]).reshape(q, m, -1)
  cotangent = _per_head(cotangent, m)
  # dot_general with batch dimensions: a reduction over 32 channels would be
  # scalar code on XLA:CPU.
  dots = jnp.einsum(
    "qmkd,qmd->qmk",
    values.reshape(s * m, d)[index],
    cotangent,
    precision=precision_lib.HIGHEST,
    preferred_element_type=cotangent.dtype,
  )
  dots = jnp.where(inside, dots.reshape(row.shape), 0.0)
  d_weights = jnp.sum(bilinear * dots, -1)
  d_x = weights * jnp.sum(slope_x * dots, -1) * widths
  d_y = weights * jnp.sum(slope_y * dots, -1) * heights
  factor = jnp.where(inside, bilinear * weights[..., None], 0.0)
  d_values = jnp.zeros((s * m, d), precision_lib.wide(values.dtype))
  d_values = d_values.at[index].add(
    factor.reshape(q, m, -1, 1) * cotangent[:, :, None]
  )
  return (
    d_values.reshape(s, m, d).astype(values.dtype),
    jnp.stack([d_x, d_y], -1).astype(locations.dtype),
    d_weights.astype(weights.dtype),
  )


def _per_head(cotangent, num_heads):
  q = cotangent.shape[0]
  return precision_lib.at_least_float32(cotangent.reshape(q, num_heads, -1))


@functools.cache
def chunk_bytes() -> int:
  """Gathered rows of one chunk of queries: as many as the second-level cache
  holds, or 1 MiB where nobody knows. With half or twice as many the pass takes
  a tenth to a quarter longer; gradients do not depend on it."""
  try:
    found = int(_CACHE.read_text().strip().removesuffix("K"))
  except (OSError, ValueError):
    found = 0
  return 1024 * found or 2**20


def windows(values, locations, weights, cotangent, level_shapes):
  """Chunks of queries, windows of two by two pixels read and added at once.

  For CPUs: what is gathered stays in cache, and there is a quarter as much
  to look up and to scatter. A border of zeros round every level makes all
  windows whole.
  """
  s, m, d = values.shape
  q = locations.shape[0]
  starts = problem_lib.starts(level_shapes)
  grids = [
    jnp.pad(
      jnp.moveaxis(values[i : i + h * w].reshape(h, w, m, d), 2, 0),
      ((0, 0), (1, 1), (1, 1), (0, 0)),
    )
    for i, (h, w) in zip(starts, level_shapes)
  ]
  bytes_per_query = 4 * d * 4 * weights[0].size
  num_chunks = -(-q * bytes_per_query // chunk_bytes())
  chunk = -(-q // num_chunks)
  padding = num_chunks * chunk - q

  def chunked(x):
    x = jnp.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(num_chunks, chunk, *x.shape[1:])

  def add_chunk(d_grids, chunk):
    results = [
      _add_windows(*level, *chunk, index)
      for index, level in enumerate(zip(d_grids, grids))
    ]
    d_grids, d_locations, d_weights = zip(*results)
    return d_grids, (jnp.stack(d_locations, 2), jnp.stack(d_weights, 2))

  d_grids, (d_locations, d_weights) = jax.lax.scan(
    add_chunk,
    tuple(
      jnp.zeros(grid.shape, precision_lib.wide(grid.dtype)) for grid in grids
    ),
    (chunked(locations), chunked(weights), chunked(cotangent)),
  )
  d_values = [
    jnp.moveaxis(grid[:, 1:-1, 1:-1], 0, 2).reshape(-1, m, d)
    for grid in d_grids
  ]
  return (
    jnp.concatenate(d_values).astype(values.dtype),
    d_locations.reshape(-1, *locations.shape[1:])[:q].astype(locations.dtype),
    d_weights.reshape(-1, *weights.shape[1:])[:q].astype(weights.dtype),
  )


def _add_windows(d_grid, grid, locations, weights, cotangent, level):
  """Add some queries to one level's d_grid; return their other gradients.

  Args:
    d_grid, grid: [M, h + 2, w + 2, D].
    locations, weights, cotangent: [Q, M, V, P, 2], [Q, M, V, P], [Q, M * D].
    level: which of V.

  Returns:
    (d_grid, d_locations [Q, M, P, 2], d_weights [Q, M, P]).
  """
  m, height, width, d = (x - y for x, y in zip(grid.shape, (0, 2, 2, 0)))
  point = precision_lib.at_least_float32(locations[:, :, level])
  weight = precision_lib.at_least_float32(weights[:, :, level])
  cotangent = _per_head(cotangent, m)
  column, share_x, inside_x = corners.window(point[..., 0], width)
  line, share_y, inside_y = corners.window(point[..., 1], height)
  inside = (inside_x & inside_y)[..., None, None]
  head = jnp.broadcast_to(jnp.arange(m)[:, None], line.shape)
  index = jnp.stack([head, line, column], -1)
  windows = jax.lax.gather(
    grid,
    index,
    jax.lax.GatherDimensionNumbers((3, 4, 5), (0,), (0, 1, 2)),
    (1, 2, 2, d),
    mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
  )
  # dot_general with batch dimensions: a reduction over 32 channels would be
  # scalar code on XLA:CPU.
  dots = jnp.einsum(
    "qmpyxd,qmd->qmpyx",
    windows,
    cotangent,
    precision=precision_lib.HIGHEST,
    preferred_element_type=cotangent.dtype,
  )
  dots = jnp.where(inside, dots, 0.0)
  of_x = jnp.stack([1 - share_x, share_x], -1)
  of_y = jnp.stack([1 - share_y, share_y], -1)
  bilinear = of_y[..., :, None] * of_x[..., None, :]
  d_weights = jnp.sum(bilinear * dots, (-2, -1))
  d_x = jnp.sum((dots[..., 1] - dots[..., 0]) * of_y, -1) * weight * width
  d_y = jnp.sum((dots[..., 1, :] - dots[..., 0, :]) * of_x, -1)
  d_y = d_y * weight * height
  factor = jnp.where(inside, bilinear * weight[..., None, None], 0.0)
  d_grid = jax.lax.scatter_add(
    d_grid,
    index,
    factor[..., None] * cotangent[:, :, None, None, None],
    jax.lax.ScatterDimensionNumbers((3, 4, 5), (0,), (0, 1, 2)),
    mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
  )
  return d_grid, jnp.stack([d_x, d_y], -1), d_weights
