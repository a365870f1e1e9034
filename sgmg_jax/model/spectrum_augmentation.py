"""Spectrum augmentation: SgMg section 3.2, equation 1.

It filters a feature map adaptively in the Fourier domain, before and after
words are fused into it, in exact float32 also under mixed precision.
"""

from __future__ import annotations

import functools

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


def damping(x, **dtypes):
  """How strongly each frame is damped, float[N] in (0, 1).

  Its layers belong to the compact module that calls it.

  Args:
    x: float[N, h, w, C].
    **dtypes: `dtype`, `param_dtype`.
  """
  c = x.shape[-1]
  dense = functools.partial(layers.torch_dense, use_bias=False, **dtypes)
  pooled = mean_of_valid_conv3x3(
    x, *layers.ConvWeights((3, 3), c, name="laplace", **dtypes)(c)
  )
  pooled = nn.relu(dense(c, c, name="fc_0")(pooled))
  return nn.sigmoid(dense(1, c, name="fc_2")(pooled))[:, 0]


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
    strength = damping(x, **dtype)
    # For analyses that ask for it.
    self.sow("intermediates", "strength", strength)
    (kernel1, bias1), (kernel2, bias2) = (
      layers.ConvWeights((1, 1), 2 * c, name=name, **dtype)(2 * c)
      for name in ("conv1", "conv2")
    )
    conv1, conv2 = (kernel1[0, 0], bias1), (kernel2[0, 0], bias2)
    y = layers.frame_by_frame(
      lambda x, strength: filter_spectrum(x, strength, gaussian, conv1, conv2),
      x,
      strength,
    )
    return x + y
