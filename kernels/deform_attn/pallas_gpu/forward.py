"""Forward pass of deformable attention on NVIDIA GPUs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plt

from sgmg_jax.kernels.deform_attn.pallas_gpu import tiles

# A thread reads 16 bytes, so 8 threads share a float32 row, 4 a bfloat16 one.
# 64 queries on 4 warps keep 16 reads in flight in every thread at 70 to 80
# registers, over 20 warps per multiprocessor; the longer the run of
# neighbouring queries, the more of their rows are in its L1 cache.
# Few queries get small blocks, to be spread over more multiprocessors.
BLOCKS: tiles.Blocks = ((65, 64, 4), (9, 16, 1), (1, 8, 1))


def run(
  values: jax.Array,
  locations: jax.Array,
  weights: jax.Array,
  *,
  level_shapes: tuple[tuple[int, int], ...],
  precision: jax.lax.PrecisionLike = None,
  interpret: bool = False,
) -> jax.Array:
  """See `api.deformable_attention`.

  Args:
    values: [N, S, M, D].
    locations: [N, Q, M, V, P, 2].
    weights: [N, Q, M, V, P].
    level_shapes: V pairs (h, w).
    precision: unused, there are no matrix products: float32 throughout.
    interpret: run the kernel's operations one by one, on any device.

  Returns:
    [N, Q, M * D] in the dtype of `values`.
  """
  del precision
  n, _, m, d = values.shape
  q = locations.shape[1]
  out = tiles.call(
    functools.partial(_kernel, level_shapes=level_shapes),
    (values, locations, weights),
    [jax.ShapeDtypeStruct((n, q, m, d), values.dtype)],
    blocks=BLOCKS,
    flops_per_row=2 * d + 10,
    name="deform_attn_pallas_gpu_forward",
    interpret=interpret,
  )[0]
  return out.reshape(n, q, m * d)


def _kernel(values, locations, weights, out, *, level_shapes, block):
  q, d = out.shape
  query = tiles.queries_of(q, block)
  channel = jnp.arange(d, dtype=jnp.int32)[None]

  def add_sample(level, size, start, point, total):
    weight = plt.load(weights.at[query, level, point]).astype(jnp.float32)
    for value, inside, bilinear, _, _ in tiles.corners_of(
      locations, values, query, level, point, size, start
    ):
      factor = jnp.where(inside, bilinear * weight, 0.0)
      total = total + factor[:, None] * value
    return total

  total = tiles.each_sample(
    add_sample,
    jnp.zeros((block, d), jnp.float32),
    level_shapes,
    locations.shape[2],
  )
  plt.store(out.at[query[:, None], channel], total.astype(out.dtype))
