"""The multi-granularity segmentation optimiser (MSO), SgMg section 3.4."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax.model import layers, patch_kernels, resize

_HIDDEN = 16


class SegmentationOptimiser(nn.Module):
  """Refines patch logits with visual features of strides 8, then 4.

  Attributes:
    patch: labels of a token. One label (an ablation) has an optimiser of the
      same hidden channels.
  """

  patch: int = patch_kernels.PATCH
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, patches, low_levels):
    """Refined patch logits.

    Args:
      patches: float[F N, h, w, patch], N of each frame, of stride 8, or 4
        behind a decoder.
      low_levels: float[F, h4, w4, C4] and float[F, h8, w8, C8].

    Returns:
      float[F N, h4, w4, patch].
    """
    f4, f8 = low_levels
    f8 = resize.resize(f8, patches.shape[1:3], "bilinear")
    patches = patches + self._correction(patches, f8, "1div8")
    patches = resize.resize(patches, f4.shape[1:3], "bilinear")
    return patches + self._correction(patches, f4, "1div4")

  def _correction(self, patches, features, name):
    weights = [
      layers.ConvWeights(
        (3, 3),
        channels,
        dtype=self.dtype,
        param_dtype=self.param_dtype,
        name=f"conv{i}_{name}",
      )
      for i, channels in ((1, _HIDDEN), (2, self.patch))
    ]
    kernel, bias = weights[0](self.patch + features.shape[-1])
    of_patches, of_features = jnp.split(kernel, [self.patch], 2)
    # The convolution of both is the sum of two, and that of the features is
    # the same for all patches of a frame.
    x = _convolve(patches.astype(self.dtype), of_patches)
    shared = _convolve(features, of_features) + bias
    x = x.reshape(len(shared), -1, *shared.shape[1:]) + shared[:, None]
    kernel, bias = weights[1](_HIDDEN)
    return _convolve(x.reshape(*patches.shape[:3], -1), kernel) + bias


def _convolve(x, kernel):
  """3x3 convolution of the positive part of x."""
  return jax.lax.conv_general_dilated(
    nn.relu(x),
    kernel,
    (1, 1),
    [(1, 1), (1, 1)],
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
