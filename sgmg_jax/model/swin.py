"""Swin transformer (Liu et al., 2021): each frame alone.

As R-VOS models have it (ReferFormer, Wu et al., 2022), after the authors'
object detection: maps are padded to whole windows, and the output of each stage
goes through a norm of its own, which the classifiers do not have. The blocks
are those of Video Swin with windows of one frame.
"""

from __future__ import annotations

from flax import linen as nn

from sgmg_jax.model import layers, video_swin


class Swin(video_swin.VideoSwin):
  """Swin with patches of 4x4 pixels and square windows of this side."""

  window: int = 7

  @nn.compact
  def __call__(self, frames, num_frames=None, *, train=False):
    """As `VideoSwin`, of frames that do not depend on each other; paths are
    dropped frame by frame."""
    del num_frames
    b, t = frames.shape[:2]
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    patches = video_swin.PatchEmbed(
      self.embed_dim, (4, 4), name="patch_embed", **types
    )(frames.reshape(b * t, 1, *frames.shape[2:]))
    window = (1, self.window, self.window)
    stages = self._stages(
      patches, None, train=train, window=window, shrinks=False
    )
    return tuple(
      layers.LayerNorm(name=f"norm{i}", **types)(x).reshape(b, t, *x.shape[2:])
      for i, x in enumerate(stages)
    )
