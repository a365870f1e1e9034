"""Swin transformer (Liu et al., 2021): each frame alone.

As R-VOS models have it (ReferFormer, Wu et al., 2022), after the authors'
object detection: maps are padded to whole windows, and the output of each stage
goes through a norm of its own, which the classifiers do not have. The blocks
are those of Video Swin with windows of one frame.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax.model import layers, video_swin


class Swin(nn.Module):
  """Swin with patches of 4x4 pixels and square windows.

  For `remat` see `sgmg.SgMg`.
  """

  embed_dim: int
  depths: tuple[int, ...]
  num_heads: tuple[int, ...]
  window: int = 7
  drop_path: float = 0.2
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, frames, num_frames=None, *, train=False):
    """Features of strides 4, 8, 16 and 32.

    Args:
      frames: float[B, T, H, W, 3].
      num_frames: unused; frames do not depend on each other.
      train: drop paths of frames at random (rng stream `drop_path`).

    Returns:
      Four maps float[B, T, h, w, C * 2**i].
    """
    del num_frames
    b, t = frames.shape[:2]
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    stages = video_swin.run_stages(
      video_swin.PatchEmbed(
        self.embed_dim, (4, 4), name="patch_embed", **types
      )(frames.reshape(b * t, 1, *frames.shape[2:])),
      None,
      depths=self.depths,
      num_heads=self.num_heads,
      drop_path=self.drop_path,
      train=train,
      window=(1, self.window, self.window),
      shrinks=False,
      remat=self.remat,
      **types,
    )
    return tuple(
      layers.LayerNorm(name=f"norm{i}", **types)(x).reshape(b, t, *x.shape[2:])
      for i, x in enumerate(stages)
    )
