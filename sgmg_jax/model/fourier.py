"""Real 2-D Fourier transforms of feature maps; on TPUs as matrix products.

A TPU has no FFT to speak of: XLA expands one of a map of 46x80 into a program
that takes half a minute to compile. As products with the matrices of the
discrete transform the eight pairs of a clip of 5 frames are 20 GFLOP, a
hundredth of a second's work at most, and compile at once.

Everything is float32. Half spectra are pairs (real, imaginary) of
float32[N, h, w // 2 + 1, C].
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def rfft2(x):
  """Half spectrum of float32[N, h, w, C] over h and w."""
  return jax.lax.platform_dependent(x, tpu=rfft2_products, default=_rfft2)


def irfft2(real, imaginary, size: tuple[int, int]):
  """float32[N, h, w, C] of a half spectrum; `size` is (h, w)."""
  return jax.lax.platform_dependent(
    real,
    imaginary,
    tpu=functools.partial(irfft2_products, size=size),
    default=functools.partial(_irfft2, size=size),
  )


def _rfft2(x):
  spectrum = jnp.fft.rfft2(x, axes=(1, 2))
  return spectrum.real, spectrum.imag


def _irfft2(real, imaginary, size):
  spectrum = jax.lax.complex(real, imaginary)
  return jnp.fft.irfft2(spectrum, size, axes=(1, 2))


# By default a TPU would round float32 to bfloat16.
_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def rfft2_products(x):
  """`rfft2`: first along w, real to complex, then along h."""
  h, w = x.shape[1:3]
  half = w // 2 + 1
  angle = 2 * np.pi / w * np.outer(np.arange(w), np.arange(half))
  # [w, 2, half]: to real and imaginary part.
  across = np.stack([np.cos(angle), -np.sin(angle)], 1).astype(np.float32)
  x = _einsum("nhwc,wpk->npkhc", x, across)
  return _along_height(x, h, -1)


def irfft2_products(real, imaginary, size):
  """`irfft2`: first along h, then along w, where every frequency but the
  first and, of an even number, the last stands for two."""
  h, w = size
  x = jnp.stack([real, imaginary], 1).transpose(0, 1, 3, 2, 4)
  x = jnp.stack(_along_height(x, h, 1), 1)
  k = np.arange(w // 2 + 1)
  angle = 2 * np.pi / w * np.outer(k, np.arange(w))
  times = np.where((k == 0) | (2 * k == w), 1, 2)[:, None] / (h * w)
  across = np.stack([times * np.cos(angle), -times * np.sin(angle)])
  return _einsum("npjkc,pkw->njwc", x, across.astype(np.float32))


def _along_height(x, h, sign):
  """Transform with exp(sign * 2 pi i j y / h) of float32[N, 2, half, h, C];
  real and imaginary part of the result, each float32[N, h, half, C]."""
  angle = sign * 2 * np.pi / h * np.outer(np.arange(h), np.arange(h))
  cos, sin = np.cos(angle), np.sin(angle)
  # [part of the input, y, part of the result, j]
  down = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)])
  x = _einsum("npkyc,pyqj->nqjkc", x, down.astype(np.float32))
  return x[:, 0], x[:, 1]
