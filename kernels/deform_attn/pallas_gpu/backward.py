"""Backward pass of deformable attention on NVIDIA GPUs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plt

from sgmg_jax.kernels.deform_attn.pallas_gpu import tiles
from sgmg_jax.kernels.deform_attn.xla import backward as xla_backward

# With one warp, sums over channels reach the threads that write them through
# shuffles; more warps would take shared memory and six barriers per sample.
BLOCKS: tiles.Blocks = ((9, 16, 1), (1, 8, 1))


def run(
  values: jax.Array,
  locations: jax.Array,
  weights: jax.Array,
  cotangent: jax.Array,
  *,
  level_shapes: tuple[tuple[int, int], ...],
  precision: jax.lax.PrecisionLike = None,
  interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gradients of `forward.run`, whose arguments these are.

  Args:
    cotangent: [N, Q, M * D].

  Returns:
    (d_values, d_locations, d_weights), like the three inputs.
  """
  del precision
  n, _, m, d = values.shape
  q = locations.shape[1]
  d_locations, d_weights = tiles.call(
    functools.partial(_kernel, level_shapes=level_shapes),
    (values, locations, weights, cotangent.reshape(n, q, m, d)),
    [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (locations, weights)],
    blocks=BLOCKS,
    flops_per_row=2 * d + 20,
    name="deform_attn_pallas_gpu_backward",
    interpret=interpret,
  )
  rows = functools.partial(xla_backward.rows, level_shapes=level_shapes)
  # The other two of its results are not used, so XLA drops them.
  d_values, _, _ = jax.vmap(rows)(values, locations, weights, cotangent)
  return d_values, d_locations, d_weights


def _kernel(
  values,
  locations,
  weights,
  cotangent,
  d_locations,
  d_weights,
  *,
  level_shapes,
  block,
):
  q, d = cotangent.shape
  query = tiles.queries_of(q, block)
  channel = jnp.arange(d, dtype=jnp.int32)[None]
  gradient = plt.load(cotangent.at[query[:, None], channel])
  gradient = gradient.astype(jnp.float32)

  def write_gradients(level, size, start, point, carry):
    weight = plt.load(weights.at[query, level, point]).astype(jnp.float32)
    d_weight = d_x = d_y = jnp.zeros((block,), jnp.float32)
    for value, inside, bilinear, slope_x, slope_y in tiles.corners_of(
      locations, values, query, level, point, size, start
    ):
      dot = jnp.where(inside, jnp.sum(value * gradient, 1), 0.0)
      d_weight += bilinear * dot
      d_x += slope_x * dot
      d_y += slope_y * dot
    height, width = size
    for target, result in (
      (d_weights.at[query, level, point], d_weight),
      (d_locations.at[query, level, point, 0], weight * d_x * width),
      (d_locations.at[query, level, point, 1], weight * d_y * height),
    ):
      plt.store(target, result.astype(target.dtype))
    return carry

  tiles.each_sample(write_gradients, 0, level_shapes, locations.shape[2])
