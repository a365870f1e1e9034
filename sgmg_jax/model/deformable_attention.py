"""Multi-scale deformable attention with its projections (Zhu et al., 2021)."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.kernels import deform_attn
from sgmg_jax.model import layers

_zeros = nn.initializers.zeros


def _offset_bias_init(num_heads: int, num_levels: int, num_points: int):
  """Points of head m lie 1, 2, … pixels away in direction 2 pi m / M."""

  def init(key, shape, dtype=jnp.float32):
    del key
    angle = np.arange(num_heads) * 2 * math.pi / num_heads
    direction = np.stack([np.cos(angle), np.sin(angle)], -1)
    direction /= np.abs(direction).max(-1, keepdims=True)
    steps = np.arange(1, num_points + 1)[:, None]
    bias = direction[:, None, None] * steps
    bias = np.broadcast_to(bias, (num_heads, num_levels, num_points, 2))
    return jnp.asarray(bias.reshape(shape), dtype)

  return init


class DeformableAttention(nn.Module):
  """Multi-scale deformable attention with its four projections."""

  num_heads: int
  num_points: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, query, references, source, source_valid, level_shapes):
    """One attention.

    Args:
      query: float[F, Lq, C].
      references: float[F, Lq, V, 2 or 4], (x, y) or (cx, cy, w, h) in units
        of each padded level.
      source: float[F, S, C], all levels, row-major.
      source_valid: bool[F, S].
      level_shapes: V pairs (h, w).

    Returns:
      float[F, Lq, C].
    """
    f, lq, c = query.shape
    m, v, p = self.num_heads, len(level_shapes), self.num_points
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    xavier = dict(kernel_init=layers.xavier_uniform, bias_init=_zeros)
    value_proj = layers.Affine(
      source.shape[-1], c, name="value_proj", **xavier, **types
    )()
    # Sampling coordinates in float32: bfloat16 would be off by pixels.
    with precision.exact():
      offsets = layers.Dense(
        m * v * p * 2,
        kernel_init=_zeros,
        bias_init=_offset_bias_init(m, v, p),
        name="sampling_offsets",
        dtype=precision.wide(self.dtype),
        param_dtype=self.param_dtype,
      )(query).reshape(f, lq, m, v, p, 2)
    weights = layers.Dense(
      m * v * p, kernel_init=_zeros, name="attention_weights", **types
    )(query)
    weights = nn.softmax(
      precision.at_least_float32(weights).reshape(f, lq, m, v * p)
    ).reshape(f, lq, m, v, p)
    centre = references[:, :, None, :, None, :2]
    if references.shape[-1] == 2:
      sizes = np.array(level_shapes, offsets.dtype)[:, None, ::-1]
      locations = centre + offsets / sizes
    else:
      extent = references[:, :, None, :, None, 2:]
      locations = centre + offsets / p * extent * 0.5
    sample = functools.partial(
      _sample_then_project
      if lq < deform_attn.FEW_QUERIES
      else _project_then_sample,
      level_shapes=level_shapes,
    )
    out = sample(source, source_valid, value_proj, locations, weights)
    return layers.Dense(c, name="output_proj", **xavier, **types)(out)


def _project_then_sample(
  source, valid, value_proj, locations, weights, *, level_shapes
):
  """Attended values float[F, Lq, C] of source float[F, S, C]."""
  kernel, bias = value_proj
  values = layers.matmul(source.astype(kernel.dtype), kernel) + bias
  values = jnp.where(valid[..., None], values, 0)
  f, s, c = values.shape
  m = weights.shape[2]
  return deform_attn.deformable_attention(
    values.reshape(f, s, m, c // m),
    locations,
    weights,
    level_shapes=level_shapes,
  )


def _sample_then_project(
  source, valid, value_proj, locations, weights, *, level_shapes
):
  """The same with the sampled source projected, not all of it.

  Sampling is linear, too, so the heads of few queries can sample the source
  itself; what they sample of the valid pixels is what the bias counts.
  """
  kernel, bias = value_proj
  f, q, m = weights.shape[:3]
  c = source.shape[-1]
  # A query of one head for every query and head.
  alone = lambda x: x.reshape(f, q * m, 1, *x.shape[3:])
  sampled, count = (
    deform_attn.deformable_attention(
      x[:, :, None], alone(locations), alone(weights), level_shapes=level_shapes
    ).reshape(f, q, m, -1)
    for x in (
      jnp.where(valid[..., None], source.astype(kernel.dtype), 0),
      valid[..., None].astype(weights.dtype),
    )
  )
  out = jnp.einsum("fqmc,cmd->fqmd", sampled, kernel.reshape(c, m, -1))
  out = out + count.astype(out.dtype) * bias.reshape(m, -1)
  return out.reshape(f, q, -1)
