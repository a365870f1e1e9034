"""Feature augmentation before and after words are fused into the maps.

SgMg's is the spectrum augmentation. Its ablations (Tables 5 and H) work in
the image: 3x3 convolutions, layers for each token, or nothing at all.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax.model import layers, spectrum_augmentation


def make(spectral: str, **dtypes: Any) -> nn.Module:
  """The augmentation of that name, one of `variants.SPECTRAL`.

  It takes a map float[N, h, w, C] and its Gaussian map float[h, w], which only
  the spectrum has a use for, and returns a map of the same shape.

  Args:
    spectral: its name.
    **dtypes: `dtype` and `param_dtype`; the spectrum is float32 whatever they
      are.
  """
  if spectral == "fft":
    return spectrum_augmentation.SpectrumAugmentation()
  return _ABLATIONS[spectral](**dtypes)


class Identity(nn.Module):
  """No augmentation: x itself, and no parameters."""

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def __call__(self, x, gaussian):
    """float[N, h, w, C] and float[h, w] -> float[N, h, w, C]."""
    del gaussian  # Nothing has frequencies here.
    return x


class ConvolutionAugmentation(nn.Module):
  """x plus two 3x3 convolutions of it, twice as wide between them.

  It has no gate and twice the parameters of the others.
  """

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, gaussian):
    """float[N, h, w, C] and float[h, w] -> float[N, h, w, C]."""
    del gaussian
    c = x.shape[-1]
    y = self._convolution(2 * c, 9 * c, "conv1")(x)
    return x + self._convolution(c, 18 * c, "conv2")(nn.relu(y))

  def _convolution(self, features, fan_in, name):
    return nn.Conv(
      features,
      (3, 3),
      padding=1,
      kernel_init=layers.torch_kernel_init,
      bias_init=layers.torch_bias_init(fan_in),
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name=name,
    )


class LinearAugmentation(nn.Module):
  """x plus two layers of each token, four times as wide between them.

  The strength a of equation 1 is kept. Without frequencies to damp it damps
  all of the map alike: x + layers((1 - a) x).
  """

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, gaussian):
    """float[N, h, w, C] and float[h, w] -> float[N, h, w, C]."""
    del gaussian
    c = x.shape[-1]
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    strength = spectrum_augmentation.damping(x, **dtypes)
    y = (1 - strength[:, None, None, None]) * x
    y = nn.relu(layers.torch_dense(4 * c, c, name="conv1", **dtypes)(y))
    return x + layers.torch_dense(c, 4 * c, name="conv2", **dtypes)(y)


_ABLATIONS = {
  "none": Identity,
  "conv": ConvolutionAugmentation,
  "linear": LinearAugmentation,
}
