"""Real 2-D Fourier transforms of feature maps; mostly as matrix products.

A TPU has no FFT to speak of: XLA expands one of a map of 46x80 into a program
that takes half a minute to compile. As products with the matrices of the
discrete transform the eight pairs of a clip of 5 frames are 20 GFLOP, a
hundredth of a second's work at most, and compile at once. A CPU is faster
with products, too: its FFT needs the maps transposed. CUDA's FFT stays.

Everything is float32 or, if that comes in, float64, and exact. Half spectra are
pairs (real, imaginary) of float[N, h, w // 2 + 1, C].
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import platforms, precision


def rfft2(x):
  """Half spectrum of float[N, h, w, C] over h and w."""
  return platforms.dependent(x, cuda=rfft2_fft, default=rfft2_products)


def irfft2(real, imaginary, size: tuple[int, int]):
  """float[N, h, w, C] of a half spectrum; `size` is (h, w)."""
  return platforms.dependent(
    real,
    imaginary,
    cuda=functools.partial(irfft2_fft, size=size),
    default=functools.partial(irfft2_products, size=size),
  )


def rfft2_fft(x):
  """`rfft2` as XLA does it."""
  spectrum = jnp.fft.rfft2(x, axes=(1, 2))
  return spectrum.real, spectrum.imag


def irfft2_fft(real, imaginary, size):
  """`irfft2` as XLA does it."""
  spectrum = jax.lax.complex(real, imaginary)
  return jnp.fft.irfft2(spectrum, size, axes=(1, 2))


_matmul = functools.partial(jnp.matmul, precision=precision.HIGHEST)


def rfft2_products(x):
  """`rfft2`: first along w, real to complex, then along h.

  Parts and frequencies are ordered so that each product finds what it sums
  over in one dimension, and nothing is transposed.
  """
  n, h, w, c = x.shape
  half = w // 2 + 1
  angle = _angles(half, w, w)
  across = np.concatenate([np.cos(angle), -np.sin(angle)])
  x = _matmul(across.astype(x.dtype), x)
  x = _matmul(_along_height(h, x.dtype), x.reshape(n, 2 * h, half * c))
  x = x.reshape(n, 2, h, half, c)
  return x[:, 0], x[:, 1]


def irfft2_products(real, imaginary, size):
  """`irfft2`: first along h, then along w, where every frequency but the
  first and, of an even number, the last stands for two."""
  h, w = size
  n, _, half, c = real.shape
  x = jnp.stack([real, imaginary], 1).reshape(n, 2 * h, half * c)
  # The inverse of a unitary matrix is its conjugate transpose.
  x = _matmul(_along_height(h, x.dtype).T, x).reshape(n, h, 2 * half, c)
  k = np.arange(half)
  angle = _angles(w, half, w)
  times = np.where((k == 0) | (2 * k == w), 1, 2) / (h * w)
  across = np.concatenate([times * np.cos(angle), -times * np.sin(angle)], 1)
  return _matmul(across.astype(x.dtype), x)


def _along_height(h, dtype):
  """Transform along h, float[2 h, 2 h]: from (y, part) to (part, j)."""
  angle = _angles(h, h, h)
  cos, sin = np.cos(angle), np.sin(angle)
  # [part of the result, j, y, part of the input]
  down = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)])
  return down.reshape(2 * h, 2 * h).astype(dtype)


def _angles(rows, columns, period):
  """float64[rows, columns]: their product in turns of `period`, whole turns
  taken off where that is exact."""
  product = np.outer(np.arange(rows), np.arange(columns))
  return 2 * np.pi / period * (product % period)
