"""Blocks of queries and their samples, as both GPU kernels take them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from sgmg_jax.kernels.deform_attn import corners
from sgmg_jax.kernels.deform_attn import problem as problem_lib

# (at least so many queries, queries of a block, warps of 32 threads), for up
# to 32 channels; more channels get smaller blocks.
Blocks = tuple[tuple[int, int, int], ...]


def call(kernel, inputs, outputs, *, blocks, flops_per_row, name, interpret):
  """Run the kernel for every block of queries, head and frame."""
  n, _, m, d = inputs[0].shape
  q, v, p = (inputs[1].shape[axis] for axis in (1, 3, 4))
  block, num_warps = block_of(blocks, q, d)
  samples = n * q * m * v * p
  return pl.pallas_call(
    functools.partial(kernel, block=block),
    out_shape=outputs,
    grid=(pl.cdiv(q, block), m, n),
    in_specs=[_of_head(x.shape) for x in inputs],
    out_specs=[_of_head(x.shape) for x in outputs],
    compiler_params=plt.CompilerParams(num_warps=num_warps, num_stages=1),
    cost_estimate=pl.CostEstimate(
      flops=4 * samples * flops_per_row,
      transcendentals=0,
      bytes_accessed=sum(
        x.size * x.dtype.itemsize for x in (*inputs, *outputs)
      ),
    ),
    name=name,
    interpret=interpret,
  )(*inputs)


def block_of(blocks, queries, channels):
  """(queries of a block, warps) from a table."""
  block, num_warps = next(row[1:] for row in blocks if queries >= row[0])
  return max(1, min(block, block * 32 // channels)), num_warps


def _of_head(shape):
  """All of [N, Q or S, M, ...] that belongs to one frame and head."""
  rest = (0,) * (len(shape) - 3)
  return pl.BlockSpec(
    (None, shape[1], None, *shape[3:]),
    lambda block, head, frame: (frame, 0, head, *rest),
  )


def queries_of(num_queries, block):
  """int32[block], the queries of this program.

  Past the end the last one is repeated, and writes the same results again:
  reads and writes need no masks.
  """
  query = pl.program_id(0) * block + jnp.arange(block, dtype=jnp.int32)
  return jnp.minimum(query, num_queries - 1)


def each_sample(step, carry, level_shapes, num_points):
  """Fold `step(level, (height, width), first row, point, carry)`.

  Levels are unrolled, their sizes being constants; points are a loop, for
  unrolling them takes ten times as long to compile.
  """
  starts = problem_lib.starts(level_shapes)
  for level, (size, start) in enumerate(zip(level_shapes, starts)):
    body = functools.partial(step, level, size, start)
    carry = jax.lax.fori_loop(0, num_points, body, carry)
  return carry


def corners_of(locations, values, query, level, point, size, start):
  """Yield each corner's (value, inside, weight, slope x, slope y).

  value: float32[block, D]; the others [block], see `corners.one`.
  """
  height, width = size
  channel = jnp.arange(values.shape[1], dtype=jnp.int32)[None]
  x, y = (
    plt.load(locations.at[query, level, point, axis]).astype(jnp.float32)
    for axis in (0, 1)
  )
  for dx, dy in corners.CORNERS:
    row, *others = corners.one(
      x * width - 0.5, y * height - 0.5, dx, dy, width, height, start
    )
    value = plt.load(values.at[row[:, None], channel])
    yield value.astype(jnp.float32), *others
