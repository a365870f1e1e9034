"""Conditional patch kernels (CPK), SgMg section 3.3.

Every query predicts the weights of two 1x1 convolutions that turn mask
features into 4x4 patches of mask logits. Their ablation (Table 5) are the plain
conditional kernels of three 1x1 convolutions that give a token one logit.
"""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.model import resize

PATCH: Final = 16
STRIDE: Final = 8
# Channels behind each convolution, by the labels of a token.
WIDTHS: Final = {PATCH: (PATCH, PATCH), 1: (8, 8, 1)}


def num_kernel_parameters(channels: int, patch: int = PATCH) -> int:
  """Length of one query's kernels: all weights, then all biases."""
  return sum(_kernel_sizes(channels, patch))


def _kernel_sizes(channels: int, patch: int) -> list[int]:
  widths = WIDTHS[patch]
  inputs = channels + 2, *widths[:-1]
  return [i * o for i, o in zip(inputs, widths, strict=True)] + list(widths)


def pixel_shuffle(x: jax.Array) -> jax.Array:
  """[..., h, w, 16] -> [..., 4h, 4w]: channel 4r + s goes to row r, column s
  of its patch."""
  *lead, h, w, _ = x.shape
  x = x.reshape(*lead, h, w, 4, 4)
  x = jnp.swapaxes(x, -3, -2)
  return x.reshape(*lead, 4 * h, 4 * w)


def to_masks(labels: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Mask logits [..., H, W] of labels [..., h, w, 16] or [..., h, w, 1]:
  patches are laid out, and what is still smaller is resized bilinearly."""
  if labels.shape[-1] == PATCH:
    labels = pixel_shuffle(labels)[..., None]
  *lead, h, w, _ = labels.shape
  masks = resize.resize(labels.reshape(-1, h, w, 1), size, "bilinear")
  return masks.reshape(*lead, *size)


def apply_patch_kernels(
  memory, kernels, references, size, patch=PATCH, stride=STRIDE
):
  """Label logits of every query.

  The mask features are the maps added up at the size of the first, such as
  the encoder's of strides 8, 16 and 32. Resizing and the first convolution
  commute, and the convolution has far fewer channels to resize, so it comes
  first.

  Args:
    memory: maps float[B, T, h, w, C].
    kernels: float[B, T, Q, K] with K = `num_kernel_parameters(C, patch)`.
    references: float[B, T, Q, 2], (cx, cy) in [0, 1].
    size: int[B, 2], (height, width) of the clip before padding.
    patch: labels of a token, a key of `WIDTHS`.
    stride: of the first map.

  Returns:
    float[B, T, Q, h, w, patch].
  """
  b, t, h, w, c = memory[0].shape
  widths = WIDTHS[patch]
  parts = jnp.split(kernels, np.cumsum(_kernel_sizes(c, patch))[:-1], -1)
  weights, biases = parts[: len(widths)], parts[len(widths) :]
  weights = [
    x.reshape(*x.shape[:-1], width, -1) for x, width in zip(weights, widths)
  ]
  first = weights[0]
  # The convolution of the two coordinate channels is an outer sum:
  # coordinates are reference (pixels) minus location.
  reference = precision.at_least_float32(references)
  reference = reference * size[:, None, None, ::-1]
  columns, rows = (
    stride * np.arange(n, dtype=reference.dtype) + stride // 2 for n in (w, h)
  )
  dx = reference[..., :1] - columns
  dy = reference[..., 1:] - rows
  wx, wy = (first[..., c + i].astype(reference.dtype) for i in (0, 1))
  across = dx[..., :, None] * wx[..., None, :]
  down = dy[..., :, None] * wy[..., None, :]
  x = 0
  kernels = first[..., :c].reshape(b, t, -1, c).swapaxes(-1, -2)
  for level in memory:
    # Pixels as rows: as columns, all channels would be transposed.
    part = level.reshape(b, t, -1, c) @ kernels.astype(level.dtype)
    part = part.reshape(b * t, *level.shape[2:4], -1)
    x += resize.resize(part, (h, w), jax.image.ResizeMethod.CUBIC_PYTORCH)
  x = jnp.moveaxis(x.reshape(b, t, h, w, -1, widths[0]), 4, 2)
  x = x + across[..., None, :, :] + down[..., :, None, :]
  x = x + biases[0][..., None, None, :]
  for weight, bias in zip(weights[1:], biases[1:]):
    with precision.exact():
      x = jnp.einsum("btqhwp,btqop->btqhwo", nn.relu(x), weight.astype(x.dtype))
    x = x + bias[..., None, None, :]
  return x
