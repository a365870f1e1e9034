"""Conditional patch kernels (CPK), SgMg section 3.3.

Every query predicts the weights of two 1x1 convolutions that turn mask
features into 4x4 patches of mask logits.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.model import resize

PATCH = 16
STRIDE = 8


def num_kernel_parameters(channels: int) -> int:
  """Length of one query's kernels: w0, w1, b0, b1."""
  return PATCH * (channels + 2) + PATCH * PATCH + 2 * PATCH


def pixel_shuffle(x: jax.Array) -> jax.Array:
  """[..., h, w, 16] -> [..., 4h, 4w]: channel 4r + s goes to row r, column s
  of its patch."""
  *lead, h, w, _ = x.shape
  x = x.reshape(*lead, h, w, 4, 4)
  x = jnp.swapaxes(x, -3, -2)
  return x.reshape(*lead, 4 * h, 4 * w)


def apply_patch_kernels(memory, kernels, references, size):
  """Patch logits of every query.

  The mask features are the encoder's maps of strides 8, 16 and 32 added up at
  stride 8. Resizing and the first convolution commute, and the convolution
  has far fewer channels to resize, so it comes first.

  Args:
    memory: three maps float[B, T, h, w, C].
    kernels: float[B, T, Q, K] with K = `num_kernel_parameters(C)`.
    references: float[B, T, Q, 2], (cx, cy) in [0, 1].
    size: int[B, 2], (height, width) of the clip before padding.

  Returns:
    float[B, T, Q, h, w, 16].
  """
  b, t, h, w, c = memory[0].shape
  w0, w1, b0, b1 = jnp.split(
    kernels,
    np.cumsum([PATCH * (c + 2), PATCH * PATCH, PATCH]),
    -1,
  )
  w0 = w0.reshape(*w0.shape[:-1], PATCH, c + 2)
  w1 = w1.reshape(*w1.shape[:-1], PATCH, PATCH)
  # The convolution of the two coordinate channels is an outer sum:
  # coordinates are reference (pixels) minus location.
  reference = precision.at_least_float32(references)
  reference = reference * size[:, None, None, ::-1]
  columns, rows = (
    STRIDE * np.arange(n, dtype=reference.dtype) + STRIDE // 2 for n in (w, h)
  )
  dx = reference[..., :1] - columns
  dy = reference[..., 1:] - rows
  wx, wy = (w0[..., c + i].astype(reference.dtype) for i in (0, 1))
  across = dx[..., :, None] * wx[..., None, :]
  down = dy[..., :, None] * wy[..., None, :]
  x = 0
  kernels = w0[..., :c].reshape(b, t, -1, c).swapaxes(-1, -2)
  for level in memory:
    # Pixels as rows: as columns, all channels would be transposed.
    part = level.reshape(b, t, -1, c) @ kernels.astype(level.dtype)
    part = part.reshape(b * t, *level.shape[2:4], -1)
    x += resize.resize(part, (h, w), jax.image.ResizeMethod.CUBIC_PYTORCH)
  x = jnp.moveaxis(x.reshape(b, t, h, w, -1, PATCH), 4, 2)
  x = x + across[..., None, :, :] + down[..., :, None, :]
  x = nn.relu(x + b0[..., None, None, :])
  with precision.exact():
    x = jnp.einsum("btqhwp,btqop->btqhwo", x, w1.astype(x.dtype))
  return x + b1[..., None, None, :]
