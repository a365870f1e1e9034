"""The two forms of the Fourier transform agree, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.model import fourier

SIZES = [(3, 5), (6, 10), (12, 20), (23, 40), (7, 3)]


def noise(*shape):
  return np.random.RandomState(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_products_are_the_transform(size):
  x = noise(2, *size, 4)
  spectrum = np.fft.rfft2(x.astype(np.float64), axes=(1, 2))
  for transform in (fourier.rfft2_fft, fourier.rfft2_products):
    real, imaginary = transform(jnp.asarray(x))
    np.testing.assert_allclose(real, spectrum.real, atol=2e-4)
    np.testing.assert_allclose(imaginary, spectrum.imag, atol=2e-4)


@pytest.mark.parametrize("size", SIZES)
def test_products_are_the_inverse_of_any_half_spectrum(size):
  """Also of one that no real map has: the real part of the inverse."""
  half = (2, size[0], size[1] // 2 + 1, 4)
  parts = noise(2, *half)
  spectrum = parts[0] + 1j * parts[1].astype(np.float64)
  expected = np.fft.irfft2(spectrum, size, axes=(1, 2))
  for inverse in (fourier.irfft2_fft, fourier.irfft2_products):
    x = inverse(*map(jnp.asarray, parts), size)
    np.testing.assert_allclose(x, expected, atol=2e-6)


def test_gradients_agree():
  x, weight = noise(1, 6, 9, 2), noise(6, 5, 1)

  def loss(x, forward, inverse):
    real, imaginary = forward(x)
    y = inverse(weight * real, jnp.tanh(imaginary), (6, 9))
    return jnp.sum(jnp.square(y))

  grad = jax.grad(loss)
  a = grad(x, fourier.rfft2_fft, fourier.irfft2_fft)
  b = grad(x, fourier.rfft2_products, fourier.irfft2_products)
  np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
