"""The decode-and-segment ablation (Table 6): a cross-modal FPN decoder.

As in ReferFormer (Wu et al., CVPR 2022), whose kernels are applied to what it
decodes from the encoded maps, at stride 4. SgMg applies them to the encoded
maps themselves, which is what they were predicted from. Words come into each
level by this model's own fusion; ReferFormer's blocks also have self-attention
and feed-forward layers.
"""

from __future__ import annotations

from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax.model import layers, vision_language_fusion

STRIDE: Final = 4


class CrossModalFpn(nn.Module):
  """Decodes mask features of stride 4, coarse to fine."""

  num_heads: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, memory, f4, text):
    """Mask features of every expression.

    Args:
      memory: the encoder's maps of strides 8, 16 and 32, each
        float[B, T, h, w, C].
      f4: the backbone's map of stride 4, float[b, T, h4, w4, C4], of clips
        with B / b expressions each.
      text: `TextFeatures` of B expressions.

    Returns:
      float[B, T, h4, w4, C].
    """
    rows, _, _, _, c = memory[0].shape
    decoded = None
    for stride, x in zip((32, 16, 8, STRIDE), (*memory[::-1], f4), strict=True):
      x = self._convolution(x, c, 1, f"lateral_{stride}")
      x = jnp.repeat(x, rows // len(x), 0)
      x = x + vision_language_fusion.VisionLanguageFusion(
        c,
        self.num_heads,
        dtype=self.dtype,
        param_dtype=self.param_dtype,
        name=f"fusion_{stride}",
      )(x, text)
      if decoded is not None:
        x = x + _nearest(decoded, x.shape[2:4])
      decoded = nn.relu(self._convolution(x, c, 3, f"output_{stride}"))
    return self._convolution(decoded, c, 3, "mask_features", norm=False)

  def _convolution(self, x, features, side, name, norm=True):
    """A convolution of each frame, with GroupNorm in place of a bias."""
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    frames = x.reshape(-1, *x.shape[2:])
    frames = nn.Conv(
      features,
      (side, side),
      padding=side // 2,
      use_bias=not norm,
      kernel_init=layers.xavier_uniform,
      name=name,
      **dtypes,
    )(frames)
    if norm:
      frames = layers.GroupNorm(name=f"{name}_norm", **dtypes)(frames)
    return frames.reshape(*x.shape[:4], features)


def _nearest(x, size):
  """Nearest neighbours of [B, T, h, w, C] at `size`, index floor(i h / H)."""
  rows, columns = (np.arange(n) * m // n for n, m in zip(size, x.shape[2:4]))
  return x[:, :, rows][:, :, :, columns]
