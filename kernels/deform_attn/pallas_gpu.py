"""Deformable attention on NVIDIA GPUs: Pallas kernels of the Triton backend.

One program takes a block of queries of one head of one frame and keeps their
sums in registers. A sample reads four rows of D neighbouring channels, each
one 128-byte line in float32; neighbouring queries mostly find them in the L1
cache, and the whole table of a frame lies in L2. The gathered rows are never
written to memory.

The backward kernel writes the gradients of locations and weights, which
belong to one query each. The gradient of the values is a scatter and is left
to XLA, which adds four channels per relaxed atomic; the atomics of this
backend fence all of the GPU's memory at every single one.

JAX deprecates the backend from 0.11 on, so everything that needs it is in
this file, and `why_not` says so on a JAX without it. From 0.11 on it also has
to know the card when a program is lowered; `why_not_here` says when it cannot.
"""

from __future__ import annotations

import functools
import logging

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from sgmg_jax.kernels.deform_attn import corners, xla_backward
from sgmg_jax.kernels.deform_attn import problem as problem_lib

try:
  from jax.experimental.pallas import triton as plt

  _MISSING = None
except ImportError as error:
  plt = None
  _MISSING = f"JAX {jax.__version__} has no Triton backend of Pallas ({error})"

# (at least so many queries, queries of a block, warps of 32 threads), for up
# to 32 channels; more channels get smaller blocks. A thread reads 16 bytes,
# so 8 threads share a float32 row, 4 a bfloat16 one.
# Forward: 64 queries on 4 warps keep 16 reads in flight in every thread at 70
# to 80 registers, over 20 warps per multiprocessor; the longer the run of
# neighbouring queries, the more of their rows are in its L1 cache.
# Backward: with one warp, sums over channels reach the threads that write them
# through shuffles; more warps would take shared memory and six barriers per
# sample.
# Few queries get small blocks, to be spread over more multiprocessors.
_FORWARD_BLOCKS = ((65, 64, 4), (9, 16, 1), (1, 8, 1))
_BACKWARD_BLOCKS = ((9, 16, 1), (1, 8, 1))

_DTYPES = ("float32", "bfloat16", "float16")


def why_not(problem: problem_lib.Problem) -> str | None:
  """Why these kernels cannot run the problem on a GPU, or None."""
  if _MISSING is not None:
    _warn_once(_MISSING)
    return _MISSING
  if problem.dtype.name not in _DTYPES:
    return f"dtype {problem.dtype.name} is none of {', '.join(_DTYPES)}"
  if problem.channels & (problem.channels - 1):
    return f"{problem.channels} channels per head are no power of two"
  if not problem.frames * problem.queries * problem.heads * problem.channels:
    return "there is nothing to compute"
  return None


def why_not_here() -> str | None:
  """Why JAX cannot lower these kernels in the present context, or None.

  It depends on `jax.set_mesh`, `jax.default_device` and what this machine has,
  so the answer holds for this lowering only.
  """
  # Until 0.10 JAX assumed some card where there is none.
  get_gpu_info = getattr(plt, "get_gpu_info", None)
  if get_gpu_info is None:
    return None
  try:
    # What the lowering itself asks, so that neither knows a card alone.
    get_gpu_info()
  except ValueError as error:
    reason = (
      f"JAX {jax.__version__} knows no GPU to lower for ({error}); "
      "jax.set_mesh with a mesh of GPUs tells it"
    )
    _warn_once(reason)
    return reason
  return None


@functools.cache
def _warn_once(reason):
  """Tells those whom it slows down, and nobody twice."""
  if jax.default_backend() == "gpu":
    logging.getLogger(__name__).warning(
      "%s: deformable attention runs as plain XLA, several times slower", reason
    )


def forward(
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
  out = _call(
    functools.partial(_forward_kernel, level_shapes=level_shapes),
    (values, locations, weights),
    [jax.ShapeDtypeStruct((n, q, m, d), values.dtype)],
    blocks=_FORWARD_BLOCKS,
    flops_per_row=2 * d + 10,
    name="deform_attn_pallas_gpu_forward",
    interpret=interpret,
  )[0]
  return out.reshape(n, q, m * d)


def backward(
  values: jax.Array,
  locations: jax.Array,
  weights: jax.Array,
  cotangent: jax.Array,
  *,
  level_shapes: tuple[tuple[int, int], ...],
  precision: jax.lax.PrecisionLike = None,
  interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Gradients of `forward`, whose arguments these are.

  Args:
    cotangent: [N, Q, M * D].

  Returns:
    (d_values, d_locations, d_weights), like the three inputs.
  """
  del precision
  n, _, m, d = values.shape
  q = locations.shape[1]
  d_locations, d_weights = _call(
    functools.partial(_backward_kernel, level_shapes=level_shapes),
    (values, locations, weights, cotangent.reshape(n, q, m, d)),
    [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (locations, weights)],
    blocks=_BACKWARD_BLOCKS,
    flops_per_row=2 * d + 20,
    name="deform_attn_pallas_gpu_backward",
    interpret=interpret,
  )
  rows = functools.partial(xla_backward.rows, level_shapes=level_shapes)
  # The other two of its results are not used, so XLA drops them.
  d_values, _, _ = jax.vmap(rows)(values, locations, weights, cotangent)
  return d_values, d_locations, d_weights


def _call(kernel, inputs, outputs, *, blocks, flops_per_row, name, interpret):
  """Runs the kernel for every block of queries, head and frame."""
  n, _, m, d = inputs[0].shape
  q, v, p = (inputs[1].shape[axis] for axis in (1, 3, 4))
  block, num_warps = _block(blocks, q, d)
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


def _block(blocks, queries, channels):
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


def _queries(num_queries, block):
  """int32[block], the queries of this program.

  Past the end the last one is repeated, and writes the same results again:
  reads and writes need no masks.
  """
  query = pl.program_id(0) * block + jnp.arange(block, dtype=jnp.int32)
  return jnp.minimum(query, num_queries - 1)


def _each_sample(step, carry, level_shapes, num_points):
  """Folds `step(level, (height, width), first row, point, carry)`.

  Levels are unrolled, their sizes being constants; points are a loop, for
  unrolling them takes ten times as long to compile.
  """
  starts = problem_lib.starts(level_shapes)
  for level, (size, start) in enumerate(zip(level_shapes, starts)):
    body = functools.partial(step, level, size, start)
    carry = jax.lax.fori_loop(0, num_points, body, carry)
  return carry


def _corners(locations, values, query, level, point, size, start):
  """Yields each corner's (value, inside, weight, slope x, slope y).

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


def _forward_kernel(values, locations, weights, out, *, level_shapes, block):
  q, d = out.shape
  query = _queries(q, block)
  channel = jnp.arange(d, dtype=jnp.int32)[None]

  def add_sample(level, size, start, point, total):
    weight = plt.load(weights.at[query, level, point]).astype(jnp.float32)
    for value, inside, bilinear, _, _ in _corners(
      locations, values, query, level, point, size, start
    ):
      factor = jnp.where(inside, bilinear * weight, 0.0)
      total = total + factor[:, None] * value
    return total

  total = _each_sample(
    add_sample,
    jnp.zeros((block, d), jnp.float32),
    level_shapes,
    locations.shape[2],
  )
  plt.store(out.at[query[:, None], channel], total.astype(out.dtype))


def _backward_kernel(
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
  query = _queries(q, block)
  channel = jnp.arange(d, dtype=jnp.int32)[None]
  gradient = plt.load(cotangent.at[query[:, None], channel])
  gradient = gradient.astype(jnp.float32)

  def write_gradients(level, size, start, point, carry):
    weight = plt.load(weights.at[query, level, point]).astype(jnp.float32)
    d_weight = d_x = d_y = jnp.zeros((block,), jnp.float32)
    for value, inside, bilinear, slope_x, slope_y in _corners(
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

  _each_sample(write_gradients, 0, level_shapes, locations.shape[2])
