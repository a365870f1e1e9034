"""Resizing of feature maps, bilinear and bicubic, as PyTorch does it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import precision


def resize(x, size, method):
  """Resize [F, h, w, C] to `size` without antialiasing.

  `jax.image.resize` as products on both sides of each map, which leave the
  channels where they are; it would transpose the maps and back.
  """
  f, h, w, c = x.shape
  if (h, w) == size:
    return x
  rows, columns = (
    jax.image.resize(np.eye(n, dtype=x.dtype), (m, n), method, antialias=False)
    for n, m in zip((h, w), size)
  )
  product = functools.partial(jnp.matmul, precision=precision.HIGHEST)
  x = product(columns, x)
  return product(rows, x.reshape(f, h, -1)).reshape(f, *size, c)
