"""Deformable attention as its definition says it: the specification.

Zhu et al. (2021), equation 3. Tests hold every implementation to it.
"""

from __future__ import annotations

import jax.numpy as jnp

from sgmg_jax.kernels.deform_attn import problem


def deformable_attention(values, locations, weights, *, level_shapes):
  """See `api.deformable_attention`; finite locations only.

  At integer coordinates the derivative of the locations is that from above.
  """
  n, _, m, d = values.shape
  out = 0
  levels = jnp.split(values, problem.starts(level_shapes)[1:], 1)
  for level, (rows, (h, w)) in enumerate(zip(levels, level_shapes)):
    x, y = jnp.moveaxis(locations[:, :, :, level], -1, 0)
    out += jnp.einsum(
      "nqmp,nqmpy,nqmpx,nyxmd->nqmd",
      weights[:, :, :, level],
      _shares(y * h - 0.5, h),
      _shares(x * w - 0.5, w),
      rows.reshape(n, h, w, m, d),
    )
  return out.reshape(n, -1, m * d)


def _shares(coordinate, size):
  """[..., size]: shares of all pixels in linear samples at [...]."""
  below = jnp.floor(coordinate)[..., None]
  share = coordinate[..., None] - below
  pixel = jnp.arange(size)
  return (pixel == below) * (1 - share) + (pixel == below + 1) * share
