"""Forward pass of deformable attention on TPUs, see `tiles`."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from sgmg_jax.kernels.deform_attn.pallas_tpu import tiles


def run(
  values, locations, weights, *, level_shapes, precision=None, interpret=False
):
  """See `api.deformable_attention`; all arguments checked there."""
  n, _, m, d = values.shape
  q, v, p = locations.shape[1], *locations.shape[3:5]
  levels = tiles.make_levels(level_shapes)
  values = tiles.pad_channels(values)
  channels = values.shape[-1]
  c = m * channels
  packed = tiles.pack(values.reshape(n, -1, c), level_shapes)
  # [N, blocks, C, keys]
  packed = [x.swapaxes(2, 3) for x in packed]
  queries = [
    tiles.pad_queries(x.reshape(n, q, -1).astype(jnp.float32))
    for x in (locations, weights)
  ]
  padded = queries[0].shape[1]
  tile = lambda size: pl.BlockSpec(
    (1, tiles.TILE, size), lambda i, j: (i, j, 0)
  )
  whole = lambda x: pl.BlockSpec((1, *x.shape[1:]), lambda i, j: (i, 0, 0, 0))
  vmem = lambda *shape: pltpu.VMEM((*shape, tiles.TILE), jnp.float32)
  num_tiles = pl.cdiv(padded, tiles.TILE)
  out = pl.pallas_call(
    functools.partial(
      _kernel,
      levels=levels,
      heads=m,
      precision=tiles.precision_of(values.dtype, precision),
    ),
    grid=(n, num_tiles),
    in_specs=[tile(x.shape[-1]) for x in queries] + [whole(x) for x in packed],
    out_specs=tile(c),
    out_shape=jax.ShapeDtypeStruct((n, padded, c), values.dtype),
    scratch_shapes=[
      vmem(m * v * p * 2),
      vmem(m * v * p),
      vmem(p, max(x.padded[1] for x in levels)),
      vmem(p, max(x.padded[0] for x in levels)),
      vmem(c),
    ],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=("parallel", "parallel"),
      vmem_limit_bytes=tiles.vmem_limit(),
    ),
    cost_estimate=_cost(n * num_tiles, m, channels, p, levels, queries, packed),
    name="deform_attn_pallas_tpu_forward",
    interpret=interpret,
  )(*queries, *packed)
  out = out[:, :q].reshape(n, q, m, channels)
  return out[..., :d].reshape(n, q, m * d)


def _cost(num_tiles, m, d, p, levels, queries, packed):
  pixels = sum(x.blocks * x.keys for x in levels)
  products = num_tiles * tiles.TILE * m * pixels
  out = num_tiles * tiles.TILE * m * d * packed[0].dtype.itemsize
  return pl.CostEstimate(
    flops=2 * products * (d + p),
    transcendentals=0,
    bytes_accessed=out
    + sum(x.size * x.dtype.itemsize for x in queries + packed),
  )


def _kernel(locations, weights, *refs, levels, heads, precision):
  """One tile of queries, all heads.

  Args:
    locations: [1, TILE, M * V * P * 2].
    weights: [1, TILE, M * V * P].
    *refs: per level values [1, blocks, C, keys]; out [1, TILE, C]; scratch:
      locations, weights and out with queries on lanes, tents of x and y.
    levels: see `tiles.Level`.
    heads: M.
    precision: of products.
  """
  *values, out, points, factors, tents_x, tents_y, sums = refs
  num_points = tents_x.shape[0]
  d = sums.shape[0] // heads
  points[...] = locations[0].T
  factors[...] = weights[0].T

  @pl.loop(0, heads)
  def _(head):
    total = jnp.zeros((d, tiles.TILE), jnp.float32)
    for index, level in enumerate(levels):
      for point in range(num_points):
        row = (head * len(levels) + index) * num_points + point
        x = points[pl.ds(2 * row, 1), :] * level.width - 0.5
        y = points[pl.ds(2 * row + 1, 1), :] * level.height - 0.5
        factor = factors[pl.ds(row, 1), :]
        rows, columns = level.padded
        tents_x[point, :columns] = tiles.tent(x, columns)
        tents_y[point, :rows] = factor * tiles.tent(y, rows)

      def add_block(block, total, values=values[index], level=level):
        row, column = tiles.origin(block, level)
        attention = tiles.attention(tents_x, tents_y, level, row, column)
        return total + jax.lax.dot_general(
          values[0, block, pl.ds(head * d, d), :],
          attention.astype(values.dtype),
          (((1,), (0,)), ((), ())),
          precision=precision,
          preferred_element_type=jnp.float32,
        )

      total = jax.lax.fori_loop(0, level.blocks, add_block, total)
    sums[pl.ds(head * d, d), :] = total

  out[0] = sums[...].T.astype(out.dtype)
