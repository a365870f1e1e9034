"""The multi-granularity segmentation optimiser (MSO), SgMg section 3.4."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax.model import layers, patch_kernels, resize


class SegmentationOptimiser(nn.Module):
  """Refines patch logits with visual features of strides 8, then 4."""

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, patches, low_levels):
    """Refined patch logits.

    Args:
      patches: float[F, h, w, 16], stride 8.
      low_levels: float[F, h4, w4, C4] and float[F, h, w, C8].

    Returns:
      float[F, h4, w4, 16].
    """
    f4, f8 = low_levels
    patches = patches + self._correction(patches, f8, "1div8")
    patches = resize.resize(patches, f4.shape[1:3], "bilinear")
    return patches + self._correction(patches, f4, "1div4")

  def _correction(self, patches, features, name):
    x = jnp.concatenate([patches.astype(features.dtype), features], -1)
    for i in (1, 2):
      x = nn.Conv(
        patch_kernels.PATCH,
        (3, 3),
        padding=1,
        kernel_init=layers.torch_kernel_init,
        bias_init=layers.torch_bias_init(9 * x.shape[-1]),
        dtype=self.dtype,
        param_dtype=self.param_dtype,
        name=f"conv{i}_{name}",
      )(nn.relu(x))
    return x
