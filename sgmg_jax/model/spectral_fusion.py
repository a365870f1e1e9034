"""Spectrum augmentation (equation 1) and word fusion, SgMg section 3.2.

Spectrum augmentation filters a feature map adaptively in the Fourier domain
before and after words are fused into it. It is exact float32, also under mixed
precision.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import precision, types
from sgmg_jax.model import fourier, layers, resize

_SIGMA = 7.0


def gaussian_maps(sizes: list[tuple[int, int]]) -> list[types.Array]:
  """The Gaussian maps of a chain of feature maps, [h, w] each.

  Only the first is a Gaussian (sigma 7, peak at (h // 2, w // 2), where the
  unshifted spectrum has its highest frequencies); each further one is the
  previous resized. Released weights rely on this.
  """
  h, w = sizes[0]
  y = np.exp(-np.square(np.arange(h) - h // 2) / (2 * _SIGMA**2))
  x = np.exp(-np.square(np.arange(w) - w // 2) / (2 * _SIGMA**2))
  maps = [jnp.asarray(np.outer(y, x))]
  for size in sizes[1:]:
    previous = maps[-1][None, ..., None]
    maps.append(resize.resize(previous, size, "bilinear")[0, ..., 0])
  return maps


def mean_of_valid_conv3x3(x, kernel, bias):
  """Mean over positions of an unpadded 3x3 convolution, without doing it.

  The mean is linear, so the kernel acts on nine shifted means of x.

  Args:
    x: float[N, h, w, C].
    kernel: float[3, 3, C, C'].
    bias: float[C'].

  Returns:
    float[N, C'].
  """
  h, w = x.shape[1:3]
  rows = np.zeros((3, h), x.dtype)
  columns = np.zeros((3, w), x.dtype)
  for i in range(3):
    rows[i, i : h - 2 + i] = 1 / (h - 2)
    columns[i, i : w - 2 + i] = 1 / (w - 2)
  means = jnp.einsum("nhwc,jw->nhjc", x, columns)
  means = jnp.einsum("nhjc,ih->nijc", means, rows)
  return jnp.einsum("nijc,ijcd->nd", means, kernel) + bias


def filter_spectrum(x, strength, gaussian, conv1, conv2):
  """Inverse transform of convolved, low-pass filtered spectrum of x.

  The two 1x1 convolutions act on [real, imaginary] channels, and the result
  is the real part of the inverse transform, which is the inverse of the
  Hermitian part. So half the spectrum suffices: both a frequency k and its
  mirror image -k, where the spectrum of x is the conjugate, follow from the
  products at k.

  Args:
    x: float[N, h, w, C], real.
    strength: float[N], in (0, 1).
    gaussian: float[h, w], how much each frequency is damped.
    conv1: (kernel [2C, 2C], bias [2C]).
    conv2: the same.

  Returns:
    float[N, h, w, C].
  """
  h, w, c = x.shape[1:]
  half = w // 2 + 1
  gaussian = gaussian.astype(x.dtype)
  mirrored = gaussian[-np.arange(h) % h][:, -np.arange(w) % w]
  strength = strength[:, None, None, None]
  keep = 1 - strength * gaussian[:, :half, None]
  keep_mirrored = 1 - strength * mirrored[:, :half, None]

  real, imaginary = fourier.rfft2(x)
  even = layers.matmul(real, conv1[0][:c])
  odd = layers.matmul(imaginary, conv1[0][c:])
  at_k = nn.relu(keep * (even + odd) + conv1[1])
  at_mirror = nn.relu(keep_mirrored * (even - odd) + conv1[1])
  real = layers.matmul(at_k + at_mirror, 0.5 * conv2[0][:, :c])
  real = real + conv2[1][:c]
  # The biases of the imaginary half cancel between k and -k.
  imaginary = layers.matmul(at_k - at_mirror, 0.5 * conv2[0][:, c:])
  return fourier.irfft2(real, imaginary, (h, w))


class SpectrumAugmentation(nn.Module):
  """x plus its adaptively filtered self, SgMg equation 1."""

  @nn.compact
  def __call__(self, x, gaussian):
    """float[N, h, w, C] and float[h, w] -> float[N, h, w, C]."""
    with precision.exact():
      exact = self._augment(precision.at_least_float32(x), gaussian)
    return exact.astype(x.dtype)

  def _augment(self, x, gaussian):
    c, dtype = x.shape[-1], dict(dtype=x.dtype)
    pooled = mean_of_valid_conv3x3(
      x, *layers.ConvWeights((3, 3), c, name="laplace", **dtype)(c)
    )
    pooled = nn.relu(
      layers.torch_dense(c, c, use_bias=False, name="fc_0", **dtype)(pooled)
    )
    strength = nn.sigmoid(
      layers.torch_dense(1, c, use_bias=False, name="fc_2", **dtype)(pooled)
    )
    (kernel1, bias1), (kernel2, bias2) = (
      layers.ConvWeights((1, 1), 2 * c, name=name, **dtype)(2 * c)
      for name in ("conv1", "conv2")
    )
    conv1, conv2 = (kernel1[0, 0], bias1), (kernel2[0, 0], bias2)
    y = layers.frame_by_frame(
      lambda x, strength: filter_spectrum(x, strength, gaussian, conv1, conv2),
      x,
      strength[:, 0],
    )
    return x + y


class PackedAttention(nn.Module):
  """Multi-head attention with one packed input projection."""

  num_heads: int
  dropout: float = 0.0
  kernel_init: Any = layers.xavier_uniform
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, query, key, value, key_valid=None, *, train=False):
    """float[B, Lq, C], [B, L, C], [B, L, C], bool[B, L] -> [B, Lq, C].

    There are few keys, so the queries' projection is applied to the keys and
    the output's to the values: query and output are multiplied once.
    """
    (b, length, c), m = key.shape, self.num_heads
    affine = functools.partial(
      layers.Affine,
      c,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
    in_kernel, in_bias = affine(3 * c, name="in_proj")()
    out_kernel, out_bias = affine(c, name="out_proj")()
    query, key, value = (x.astype(self.dtype) for x in (query, key, value))
    kernels, biases = jnp.split(in_kernel, 3, -1), jnp.split(in_bias, 3)
    k, v = (
      (layers.matmul(x, kernel) + bias).reshape(b, length, m, -1)
      for x, kernel, bias in zip((key, value), kernels[1:], biases[1:])
    )
    k = k * k.shape[-1] ** -0.5
    # [B, C, M L], [B, M L], [B, M L, C]
    projected_keys = jnp.einsum(
      "cmd,bkmd->bcmk", kernels[0].reshape(c, m, -1), k
    )
    offset = jnp.einsum("md,bkmd->bmk", biases[0].reshape(m, -1), k)
    projected_values = jnp.einsum(
      "bkmd,mdc->bmkc", v, out_kernel.reshape(m, -1, c)
    )
    scores = query @ projected_keys.reshape(b, c, -1) + offset.reshape(b, 1, -1)
    scores = precision.at_least_float32(scores.reshape(b, -1, m, length))
    if key_valid is not None:
      scores = jnp.where(key_valid[:, None, None], scores, -1e30)
    weights = nn.softmax(scores).astype(self.dtype)
    weights = nn.Dropout(self.dropout)(weights, deterministic=not train)
    weights = weights.reshape(b, -1, m * length)
    return weights @ projected_values.reshape(b, -1, c) + out_bias


class VisionLanguageFusion(nn.Module):
  """Words attended to by every visual token, multiplied into it.

  Every visual token attends by itself, so frames and padding do not mix.
  """

  num_heads: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def setup(self):
    self.multihead_attn = PackedAttention(
      self.num_heads,
      kernel_init=layers.xavier_uniform,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )

  def __call__(self, visual, text):
    """float[B, T, h, w, C] and `TextFeatures` -> float[B, T, h, w, C]."""
    tokens = visual.reshape(visual.shape[0], -1, visual.shape[-1])
    attended = self.multihead_attn(
      tokens, text.words + text.word_pos, text.words, text.word_valid
    )
    return (attended * tokens).reshape(visual.shape)
