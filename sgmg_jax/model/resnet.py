"""ResNet (He et al., 2016) with frozen batch norm: each frame alone.

The form of torchvision's `resnet50` and `resnet101`: bottlenecks whose 3x3
convolution has the stride. Batch norm is the affine map that the statistics of
the pre-training make it, as in detectors (Carion et al., 2020) and R-VOS models
(ReferFormer, Wu et al., 2022).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.model import layers, variants
from sgmg_jax.model import remat as remat_lib

# Names of the parameters that no training changes.
BATCH_NORM = r"(.*/)?(bn\d|downsample_1)/.*"


class FrozenBatchNorm(nn.Module):
  """Batch norm of fixed statistics: returns (scale [C], offset [C]), at least
  float32."""

  features: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self):
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    scale, bias, mean, variance = (
      precision.at_least_float32(
        self.param(name, init, (self.features,), self.param_dtype)
      )
      for name, init in (
        ("scale", ones),
        ("bias", zeros),
        ("running_mean", zeros),
        ("running_var", ones),
      )
    )
    scale = scale * jax.lax.rsqrt(variance + 1e-5)
    return scale, bias - mean * scale


class Kernel(nn.Module):
  """Holds the kernel [*size, in_features, features] of a convolution."""

  size: tuple[int, int]
  features: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, in_features):
    return self.param(
      "kernel",
      nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
      (*self.size, in_features, self.features),
      self.param_dtype,
    )


def _convolve(x, side, features, stride, names, types):
  """Convolution and batch norm, modules of the caller's by these names.

  The norm's scale goes into the kernel: one pass over the map is saved.
  """
  kernel = Kernel((side, side), features, name=names[0], **types)(x.shape[-1])
  scale, offset = FrozenBatchNorm(features, name=names[1], **types)()
  kernel, offset = (a.astype(x.dtype) for a in (kernel * scale, offset))
  if side == 1:
    # As a product: XLA:CPU takes longer for the convolution.
    return layers.matmul(x[:, ::stride, ::stride], kernel[0, 0]) + offset
  padding = [(side // 2, side // 2)] * 2
  x = jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return x + offset


class Bottleneck(nn.Module):
  """1x1, 3x3 and 1x1 convolution beside a shortcut."""

  width: int
  stride: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    """float[F, h, w, C] -> float[F, h / stride, w / stride, 4 width]."""
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    wide = variants.RESNET_EXPANSION * self.width
    y = nn.relu(_convolve(x, 1, self.width, 1, ("conv1", "bn1"), types))
    y = _convolve(y, 3, self.width, self.stride, ("conv2", "bn2"), types)
    y = _convolve(nn.relu(y), 1, wide, 1, ("conv3", "bn3"), types)
    if self.stride > 1 or x.shape[-1] != wide:
      names = "downsample_0", "downsample_1"
      x = _convolve(x, 1, wide, self.stride, names, types)
    return nn.relu(y + x)


class ResNet(nn.Module):
  """ResNet of bottlenecks; `width` is that of the first convolution.

  For `remat` see `sgmg.SgMg`.
  """

  depths: tuple[int, ...]
  width: int = 64
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: str = remat_lib.NONE

  @nn.compact
  def __call__(self, frames, num_frames=None, *, train=False):
    """Features of strides 4, 8, 16 and 32.

    Args:
      frames: float[B, T, H, W, 3].
      num_frames: unused; frames do not depend on each other.
      train: unused; nothing is drawn.

    Returns:
      Four maps float[B, T, h, w, 4 * width * 2**i].
    """
    del num_frames, train
    b, t = frames.shape[:2]
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    x = frames.reshape(b * t, *frames.shape[2:]).astype(self.dtype)
    x = nn.relu(_convolve(x, 7, self.width, 2, ("conv1", "bn1"), types))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    bottleneck = remat_lib.wrap(Bottleneck, self.remat)
    stages = []
    for i, depth in enumerate(self.depths):
      for j in range(depth):
        stride = 2 if i and not j else 1
        name = f"layer{i + 1}_{j}"
        x = bottleneck(self.width << i, stride, name=name, **types)(x)
      stages.append(x.reshape(b, t, *x.shape[1:]))
    return tuple(stages)
