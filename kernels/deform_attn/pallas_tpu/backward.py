"""Backward pass of deformable attention on TPUs, see `tiles`.

With A and values V as there and the cotangent g, the gradient of V is g A^T,
and that of A is dA = V^T g. A sample's gradients need dA at its four corners
only. Two selections find them: over the rows of the level, the two rows of
each sample, with one instruction where a tent takes two; then over columns.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from sgmg_jax.kernels.deform_attn.pallas_tpu import tiles


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
  n, s, m, d = values.shape
  q, v, p = locations.shape[1], *locations.shape[3:5]
  levels = tiles.make_levels(level_shapes)
  padded_values = tiles.pad_channels(values)
  channels = padded_values.shape[-1]
  c = m * channels
  group = _heads_of_a_group(m, channels)
  packed = tiles.pack(padded_values.reshape(n, s, c), level_shapes)
  # [N, groups, blocks, keys, channels of a group]
  packed = [
    jnp.moveaxis(x.reshape(*x.shape[:3], m // group, -1), 3, 1) for x in packed
  ]
  cotangent = cotangent.reshape(n, q, m, d).astype(values.dtype)
  cotangent = tiles.pad_channels(cotangent)
  queries = [
    tiles.pad_queries(x.reshape(n, q, -1).astype(jnp.float32))
    for x in (locations, weights, cotangent)
  ]
  padded = queries[0].shape[1]
  num_tiles = pl.cdiv(padded, tiles.TILE)
  tile = lambda size: pl.BlockSpec(
    (1, tiles.TILE, size), lambda i, j: (i, j, 0)
  )
  whole = lambda shape: pl.BlockSpec(
    (1, *shape[1:]), lambda i, j: (i,) + (0,) * (len(shape) - 1)
  )
  vmem = lambda *shape: pltpu.VMEM((*shape, tiles.TILE), jnp.float32)
  gradients = [(n, x.blocks, c, x.keys) for x in levels]
  like = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)
  d_locations, d_weights, *d_packed = pl.pallas_call(
    functools.partial(
      _kernel,
      levels=levels,
      heads=m,
      num_queries=q,
      precision=tiles.precision_of(values.dtype, precision),
    ),
    grid=(n, num_tiles),
    in_specs=[tile(x.shape[-1]) for x in queries]
    + [whole(x.shape) for x in packed],
    out_specs=[tile(x.shape[-1]) for x in queries[:2]]
    + [whole(shape) for shape in gradients],
    out_shape=[like(x.shape) for x in queries[:2]] + [*map(like, gradients)],
    scratch_shapes=[
      vmem(m * v * p * 2),
      vmem(m * v * p),
      vmem(c),
      vmem(m * v * p * 2),
      vmem(m * v * p),
      vmem(p, max(x.padded[1] for x in levels)),
      vmem(p, max(x.padded[0] for x in levels)),
    ],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=("parallel", "arbitrary"),
      vmem_limit_bytes=tiles.vmem_limit(),
    ),
    cost_estimate=_cost(n * num_tiles, m, channels, p, levels, queries, packed),
    name="deform_attn_pallas_tpu_backward",
    interpret=interpret,
  )(*queries, *packed)
  d_values = tiles.unpack([x.swapaxes(2, 3) for x in d_packed], level_shapes)
  d_values = d_values.reshape(n, s, m, channels)[..., :d]
  return (
    d_values.astype(values.dtype),
    d_locations[:, :q].reshape(locations.shape).astype(locations.dtype),
    d_weights[:, :q].reshape(weights.shape).astype(weights.dtype),
  )


def _heads_of_a_group(m, d):
  """Heads that share the 128 lanes of a register; all if they do not fit."""
  group = max(1, tiles.TILE // d)
  return group if m % group == 0 and group * d == tiles.TILE else m


def _cost(num_tiles, m, d, p, levels, queries, packed):
  pixels = sum(x.blocks * x.keys for x in levels)
  products = num_tiles * tiles.TILE * m * pixels
  return pl.CostEstimate(
    flops=2 * products * (2 * d + 2 * p),
    transcendentals=0,
    bytes_accessed=2 * sum(x.size * 4 for x in queries + packed),
  )


def _kernel(
  locations,
  weights,
  cotangent,
  *refs,
  levels,
  heads,
  num_queries,
  precision,
):
  """One tile of queries, all heads; gradients of values add up over tiles.

  Args:
    locations: [1, TILE, M * V * P * 2].
    weights: [1, TILE, M * V * P].
    cotangent: [1, TILE, C].
    *refs: per level values [1, groups, blocks, keys, channels of a group];
      gradients of locations, of weights and per level of values [1, blocks,
      C, keys]; scratch: the three inputs and two gradients with queries on
      lanes, tents of x and y.
    levels: see `tiles.Level`.
    heads: M.
    num_queries: Q, which the last tile may exceed.
    precision: of products.
  """
  v = len(levels)
  values, (d_locations, d_weights), refs = (
    refs[:v],
    refs[v : v + 2],
    refs[v + 2 :],
  )
  d_values, scratch = refs[:v], refs[v:]
  points, factors, grads, d_points, d_factors, *scratch = scratch
  tents_x, tents_y = scratch
  num_points = tents_x.shape[0]
  d = grads.shape[0] // heads
  groups, lanes = values[0].shape[1], values[0].shape[-1]
  group = heads // groups

  # What lies beyond the last query is arbitrary, and would reach the values.
  lane = jax.lax.broadcasted_iota(jnp.int32, (1, tiles.TILE), 1)
  valid = lane < num_queries - pl.program_id(1) * tiles.TILE
  for source, target in (
    (locations, points),
    (weights, factors),
    (cotangent, grads),
  ):
    target[...] = jnp.where(valid, source[0].T, 0.0)

  @pl.when(pl.program_id(1) == 0)
  def _():
    for level, gradient in zip(levels, d_values):

      @pl.loop(0, level.blocks * heads)
      def _(i, level=level, gradient=gradient):
        block, head = jax.lax.div(i, heads), jax.lax.rem(i, heads)
        zero = jnp.zeros((d, level.keys), jnp.float32)
        gradient[0, block, pl.ds(head * d, d), :] = zero

  product = functools.partial(
    jax.lax.dot_general,
    precision=precision,
    preferred_element_type=jnp.float32,
  )

  @pl.loop(0, heads)
  def _(head):
    dtype = values[0].dtype
    grad = grads[pl.ds(head * d, d), :].astype(dtype)
    # The heads of a group share the depth of the matrix unit; the others' rows
    # are zero. (`//` asks the compiler for the chip, which may not be there.)
    owner, member = jax.lax.div(head, group), jax.lax.rem(head, group)
    channel = jax.lax.broadcasted_iota(jnp.int32, (lanes, tiles.TILE), 0)
    alone = (channel >= member * d) & (channel < (member + 1) * d)
    grad_alone = grads[pl.ds(owner * lanes, lanes), :]
    grad_alone = jnp.where(alone, grad_alone, 0.0).astype(dtype)
    for index, level in enumerate(levels):
      samples = []
      rows, columns = level.padded
      for point in range(num_points):
        row = (head * v + index) * num_points + point
        sample = _Sample(points, factors, row, level)
        tents_x[point, :columns] = tiles.tent(sample.x, columns)
        tents_y[point, :rows] = sample.factor * tiles.tent(sample.y, rows)
        samples.append(sample)

      def add_block(block, corners, index=index, level=level, samples=samples):
        row, column = tiles.origin(block, level)
        attention = tiles.attention(tents_x, tents_y, level, row, column)
        d_values[index][0, block, pl.ds(head * d, d), :] += product(
          grad, attention.astype(dtype), (((1,), (1,)), ((), ()))
        )
        d_attention = product(
          values[index][0, owner, block],
          grad_alone,
          (((1,), (0,)), ((), ())),
        )
        return _add_corners(corners, d_attention, samples, level, row, column)

      zero = jnp.zeros((tiles.SUBLANES, tiles.TILE), jnp.float32)
      corners = jax.lax.fori_loop(
        0, level.blocks, add_block, [[zero] * 4 for _ in samples]
      )
      for sample, corner in zip(samples, corners):
        sample.write(d_points, d_factors, corner)

  d_locations[0] = d_points[...].T
  d_weights[0] = d_factors[...].T


class _Sample:
  """One point of each query of a tile, [1, TILE] everything."""

  def __init__(self, points, factors, row, level):
    self.row, self.level = row, level
    x = points[pl.ds(2 * row, 1), :] * level.width - 0.5
    y = points[pl.ds(2 * row + 1, 1), :] * level.height - 0.5
    # Infinity would make the fractions NaN.
    self.x = jnp.clip(x, -2.0, level.width + 1.0)
    self.y = jnp.clip(y, -2.0, level.height + 1.0)
    self.x0, self.y0 = jnp.floor(self.x), jnp.floor(self.y)
    self.factor = factors[pl.ds(row, 1), :]

  def write(self, d_points, d_factors, corners):
    """Gradients from those of A at (y0, x0), (y0, x1), (y1, x0), (y1, x1).

    At integer coordinates these are the derivatives from the right.
    """
    c00, c01, c10, c11 = (jnp.sum(c, 0, keepdims=True) for c in corners)
    right, below = self.x - self.x0, self.y - self.y0
    upper = c00 + right * (c01 - c00)
    lower = c10 + right * (c11 - c10)
    d_x = (1.0 - below) * (c01 - c00) + below * (c11 - c10)
    scale = self.factor
    d_factors[pl.ds(self.row, 1), :] = upper + below * (lower - upper)
    d_points[pl.ds(2 * self.row, 1), :] = scale * d_x * self.level.width
    d_points[pl.ds(2 * self.row + 1, 1), :] = (
      scale * (lower - upper) * self.level.height
    )


def _add_corners(corners, d_attention, samples, level, row, column):
  """Add what a block holds of the samples' corners.

  Args:
    corners: per sample four float32[8, TILE], to be summed over the eight.
    d_attention: float32[keys, TILE].
    samples: of the level.
    level: which.
    row, column: where the block begins.
  """
  zero = jnp.zeros((level.columns, tiles.TILE), jnp.float32)
  upper, lower = ([zero] * len(samples) for _ in range(2))
  tall = lambda x: jnp.broadcast_to(x, (tiles.SUBLANES, tiles.TILE))
  rows = [tall(sample.y0) - row.astype(jnp.float32) for sample in samples]
  above = [row == -1.0 for row in rows]
  for i in range(level.rows):
    piece = d_attention[i * level.columns : (i + 1) * level.columns]
    here = [row == float(i) for row in rows]
    upper = [_where(mask, piece, x) for mask, x in zip(here, upper)]
    lower = [_where(mask, piece, x) for mask, x in zip(above, lower)]
    above = here
  column = column.astype(jnp.float32)
  return [
    _select_columns(corner, sample.x0 - column, *found)
    for sample, corner, *found in zip(samples, corners, upper, lower)
  ]


def _where(mask, x, y):
  """`jnp.where`, with one register's mask for several of x and y."""
  return jnp.where(jnp.tile(mask, (x.shape[0] // mask.shape[0], 1)), x, y)


def _select_columns(corners, x0, upper, lower):
  """Add rows' values at columns x0 and x0 + 1 to the corners."""
  for k in range(0, upper.shape[0], tiles.SUBLANES):
    columns = tiles.pixels(tiles.SUBLANES) + float(k)
    sides = (columns == x0, columns == x0 + 1.0)
    rows = (x[k : k + tiles.SUBLANES] for x in (upper, lower))
    found = [jnp.where(side, row, 0.0) for row in rows for side in sides]
    corners = [a + b for a, b in zip(corners, found)]
  return corners
