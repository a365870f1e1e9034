"""Forward pass of deformable attention in plain XLA, in three forms.

Each form takes one frame: values [S, M, D], locations [Q, M, V, P, 2], weights
[Q, M, V, P], and gives [Q, M * D] in the dtype of the values.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import precision as precision_lib
from sgmg_jax.kernels.deform_attn import corners, lowering
from sgmg_jax.kernels.deform_attn import problem as problem_lib
from sgmg_jax.kernels.deform_attn.xla import forms


def run(
  values, locations, weights, *, level_shapes, precision=None, interpret=False
):
  """See `api.deformable_attention`; all arguments checked there."""
  del precision, interpret  # Products in float32; nothing to interpret.
  few = locations.shape[1] < problem_lib.FEW_QUERIES
  named = functools.partial(forms.named, level_shapes=level_shapes)
  by_frame = {
    "cpu": jax.vmap(named(scan)) if few else forms.one_by_one(named(scan)),
    "cuda": jax.vmap(named(by_level)),
    "tpu": jax.vmap(named(rows)) if few else forms.one_by_one(named(scan)),
  }
  n, q, m, *_ = locations.shape
  out = jax.ShapeDtypeStruct((n, q, m * values.shape[3]), values.dtype)
  return lowering.call(by_frame.get, [out], values, locations, weights)[0]


def scan(values, locations, weights, level_shapes):
  """One (level, point) after the other.

  XLA:CPU fuses the body into one loop of four gathers, so that the gathered
  rows never reach memory.
  """
  s, m, d = values.shape
  q, _, v, p, _ = locations.shape
  table = values.reshape(s * m, d)
  head = jnp.arange(m)
  constants = [
    corners.constant(np.repeat(c, p)) for c in corners.levels(level_shapes)
  ]
  # [V * P, Q, M]
  points = jnp.moveaxis(locations.reshape(q, m, v * p, 2), 2, 0)
  points = precision_lib.at_least_float32(points)
  per_point = jnp.moveaxis(weights.reshape(q, m, v * p), 2, 0)

  def add_point(total, step):
    point, weight, width, height, start = step
    x = point[..., 0] * width - 0.5
    y = point[..., 1] * height - 0.5
    for dx, dy in corners.CORNERS:
      row, inside, bilinear, _, _ = corners.one(
        x, y, dx, dy, width, height, start
      )
      factor = jnp.where(inside, bilinear * weight, 0.0)
      total = total + factor[..., None] * table[row * m + head]
    return total, None

  total = jnp.zeros((q, m, d), precision_lib.wide(values.dtype))
  total, _ = jax.lax.scan(add_point, total, (points, per_point, *constants))
  return total.astype(values.dtype).reshape(q, m * d)


def rows(values, locations, weights, level_shapes):
  """All rows gathered, then contracted."""
  s, m, d = values.shape
  q = locations.shape[0]
  row, inside, bilinear, _, _ = corners.of_all(locations, level_shapes)
  factor = jnp.where(inside, bilinear * weights[..., None], 0.0)
  index = (row * m + jnp.arange(m)[:, None, None, None]).reshape(q, m, -1)
  gathered = values.reshape(s * m, d)[index]
  out = jnp.einsum(
    "qmk,qmkd->qmd",
    factor.reshape(q, m, -1),
    gathered,
    precision=precision_lib.HIGHEST,
    preferred_element_type=precision_lib.wide(values.dtype),
  )
  return out.astype(values.dtype).reshape(q, m * d)


def by_level(values, locations, weights, level_shapes):
  """Level after level, channels innermost.

  XLA:GPU makes one kernel of it in which neighbouring threads read
  neighbouring channels; of `rows` it makes a reduction across a warp, whose
  threads read from different rows.
  """
  s, m, d = values.shape
  q = locations.shape[0]
  total = jnp.zeros((q, m, d), precision_lib.wide(values.dtype))
  constants = zip(*corners.levels(level_shapes))
  for level, (width, height, start) in enumerate(constants):
    table = values[start : start + width * height]
    # [Q, P, M]
    point = jnp.moveaxis(locations[:, :, level], 1, 2)
    point = precision_lib.at_least_float32(point)
    weight = jnp.moveaxis(weights[:, :, level], 1, 2)
    x = point[..., 0] * width - 0.5
    y = point[..., 1] * height - 0.5
    for dx, dy in corners.CORNERS:
      row, inside, bilinear, _, _ = corners.one(x, y, dx, dy, width, height, 0)
      factor = jnp.where(inside, bilinear * weight, 0.0)
      gathered = jnp.take_along_axis(
        table, row.reshape(-1, m, 1), 0, mode="promise_in_bounds"
      ).reshape(*row.shape, d)
      total += jnp.sum(factor[..., None] * gathered, 1, dtype=total.dtype)
  return total.astype(values.dtype).reshape(q, m * d)
