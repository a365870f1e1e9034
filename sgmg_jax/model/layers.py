"""Small parts shared by the whole model: initialisers, MLP, sine positions.

Submodules carry the names of the released state dict, dots and list indices
as slashes and suffixes (`layers.0` is `layers_0`), so that checkpoints map by
rule.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import platforms
from sgmg_jax.model import dropout, rowwise

Initializer = Callable[..., jax.Array]

xavier_uniform: Initializer = nn.initializers.xavier_uniform()
# PyTorch's default for linear and convolution weights, kaiming_uniform with
# a = sqrt(5): a uniform distribution of variance 1 / (3 fan_in).
torch_kernel_init: Initializer = nn.initializers.variance_scaling(
  1 / 3, "fan_in", "uniform"
)


def torch_bias_init(fan_in: int) -> Initializer:
  """PyTorch's default bias: uniform within 1 / sqrt(fan_in)."""
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """[..., C] @ [C, C'], with x as a matrix: XLA:CPU takes up to twice as long
  for the same product with more dimensions."""
  out = x.reshape(-1, x.shape[-1]) @ kernel
  return out.reshape(*x.shape[:-1], -1)


def _product(x, kernel, dimension_numbers, precision=None):
  """`matmul` as flax's `Dense` calls it."""
  del dimension_numbers, precision
  return matmul(x, kernel)


Dense = functools.partial(
  nn.Dense, dot_general=_product, kernel_init=torch_kernel_init
)
# Variances in two passes, as in `layer_norm`: E[x^2] - E[x]^2 loses digits
# where the mean is large.
GroupNorm = functools.partial(
  nn.GroupNorm, num_groups=32, epsilon=1e-5, use_fast_variance=False
)


def torch_dense(features: int, fan_in: int, **kwargs) -> nn.Dense:
  """`Dense` initialised as PyTorch's `Linear`."""
  kwargs.setdefault("bias_init", torch_bias_init(fan_in))
  return Dense(features, **kwargs)


class ConvWeights(nn.Module):
  """Holds the kernel and bias of a convolution for a fused computation.

  Returns (kernel [*size, in_features, features], bias [features]).
  """

  size: tuple[int, ...]
  features: int
  kernel_init: Initializer = torch_kernel_init
  bias_init: Initializer | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, in_features):
    shape = (*self.size, in_features, self.features)
    bias_init = self.bias_init or torch_bias_init(math.prod(shape[:-1]))
    kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
    bias = self.param("bias", bias_init, shape[-1:], self.param_dtype)
    return kernel.astype(self.dtype), bias.astype(self.dtype)


class Affine(nn.Module):
  """Holds the kernel and bias of a linear layer for a fused computation.

  Returns (kernel [in_features, features], bias [features]).
  """

  in_features: int
  features: int
  kernel_init: Initializer = torch_kernel_init
  bias_init: Initializer = nn.initializers.zeros
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self):
    shape = (self.in_features, self.features)
    kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
    bias = self.param("bias", self.bias_init, shape[1:], self.param_dtype)
    return kernel.astype(self.dtype), bias.astype(self.dtype)


class NormWeights(nn.Module):
  """Holds the scale and bias of a `layer_norm` for a fused computation."""

  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features):
    make = lambda name, init: self.param(
      name, init, (features,), self.param_dtype
    )
    return {
      "scale": make("scale", nn.initializers.ones),
      "bias": make("bias", nn.initializers.zeros),
    }


def layer_norm(params, x, *, in_chunk, epsilon=1e-5, dtype=jnp.float32):
  """Norm over the last axis of x float[R, C].

  Args:
    params: of `NormWeights`.
    x: float[R, C].
    in_chunk: see `rowwise.apply`. Else its gradient computes it again: as JAX
      derives it, training would keep four arrays of each, a third of all that
      it keeps.
    epsilon: added to the variance.
    dtype: of the result; means and variances are float32.
  """
  norm = nn.LayerNorm if in_chunk else nn.remat(nn.LayerNorm)
  norm = norm(epsilon, dtype, use_fast_variance=False, parent=None)
  return norm.apply({"params": params}, x)


class LayerNorm(NormWeights):
  """`layer_norm` of float[..., C]."""

  epsilon: float = 1e-5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    function = _Norm(self.epsilon, jnp.dtype(self.dtype))
    return rowwise.apply(function, super().__call__(x.shape[-1]), x)


@dataclasses.dataclass(frozen=True)
class _Norm:
  epsilon: float
  dtype: jnp.dtype

  def __call__(self, params, x, masks, in_chunk):
    del masks
    return layer_norm(
      params, x, in_chunk=in_chunk, epsilon=self.epsilon, dtype=self.dtype
    )


def feed_forward(x, first, second, activation, mask=None):
  """second(mask(activation(first(x)))).

  Args:
    x: float[R, C].
    first, second: (kernel, bias) pairs.
    activation: elementwise function.
    mask: `dropout.Mask` of the hidden layer in training, or None.

  Returns:
    float[R, C'].
  """
  hidden = dropout.drop(activation(x @ first[0] + first[1]), mask)
  return hidden @ second[0] + second[1]


def frame_by_frame(function, *args):
  """function(*args) of arrays [F, ...] to [F, ...] that mixes no frames.

  On CPUs it gets one frame at a time, so that more of what it computes stays
  in cache and memory is taken for one frame only.
  """

  def one_by_one(*args):
    frame = lambda args: function(*(x[None] for x in args))[0]
    return jax.lax.map(frame, args)

  return platforms.dependent(*args, cpu=one_by_one, default=function)


class Mlp(nn.Module):
  """ReLU between linear layers `layers_0`, `layers_1`, …

  `last_kernel_init` and `last_bias_init` override the last layer's
  initialisation.
  """

  features: tuple[int, ...]
  kernel_init: Initializer | None = None
  last_kernel_init: Initializer | None = None
  last_bias_init: Initializer | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    for i, features in enumerate(self.features):
      last = i == len(self.features) - 1
      inits = {}
      if self.kernel_init is not None:
        inits["kernel_init"] = self.kernel_init
        inits["bias_init"] = nn.initializers.zeros
      if last and self.last_kernel_init is not None:
        inits["kernel_init"] = self.last_kernel_init
      if last and self.last_bias_init is not None:
        inits["bias_init"] = self.last_bias_init
      x = torch_dense(
        features,
        x.shape[-1],
        name=f"layers_{i}",
        dtype=self.dtype,
        param_dtype=self.param_dtype,
        **inits,
      )(x)
      if not last:
        x = nn.relu(x)
    return x


def _sine_code(position: jax.Array, width: int) -> jax.Array:
  """[..., width]: even channels sine, odd cosine, wavelengths to 10000."""
  channel = np.arange(width)
  wavelength = (10000.0 ** (2 * (channel // 2) / width)).astype(np.float32)
  # Rows and columns that are all padding have positions near -pi * 1e6, whose
  # sine the released weights saw: the barrier keeps XLA from dividing by
  # multiplying with a rounded inverse.
  wavelength = jax.lax.optimization_barrier(
    jnp.broadcast_to(wavelength, (*position.shape, width))
  )
  angle = position[..., None] / wavelength
  return jnp.where(channel % 2 == 0, jnp.sin(angle), jnp.cos(angle))


def word_positions(token_valid: jax.Array, width: int) -> jax.Array:
  """1-D sine positions over the valid words.

  Args:
    token_valid: bool[B, L].
    width: channels C.

  Returns:
    float32[B, L, C].
  """
  count = jnp.cumsum(token_valid, -1, dtype=jnp.float32)
  position = count / (count[:, -1:] + 1e-6) * (2 * math.pi)
  return _sine_code(position, width)


def pixel_positions(valid: jax.Array, width: int) -> jax.Array:
  """2-D sine positions over the valid pixels of a feature map, y then x.

  Half a pixel is taken off the counts here, unlike in `word_positions`.

  Args:
    valid: bool[B, h, w].
    width: channels C, half of them per axis.

  Returns:
    float32[B, h, w, C].
  """
  codes = []
  for axis in (1, 2):
    count = jnp.cumsum(valid, axis, dtype=jnp.float32)
    last = jax.lax.index_in_dim(count, -1, axis)
    position = (count - 0.5) / (last + 1e-6) * (2 * math.pi)
    codes.append(_sine_code(position, width // 2))
  return jnp.concatenate(codes, -1)


def inverse_sigmoid(x: jax.Array) -> jax.Array:
  """log(x / (1 - x)) of x clipped to [0, 1], finite at both ends."""
  x = jnp.clip(x, 0.0, 1.0)
  return jnp.log(jnp.maximum(x, 1e-5) / jnp.maximum(1 - x, 1e-5))
