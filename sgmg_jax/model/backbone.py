"""The visual encoder that a variant names, where checkpoints have it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax.model import remat as remat_lib
from sgmg_jax.model import resnet, swin, variants, video_swin


def make(variant: variants.Variant, **settings: Any) -> nn.Module:
  """Makes the network: (frames, num_frames, train) to the maps of four stages,
  see `video_swin.VideoSwin`.

  Args:
    variant: names the network, and its sizes.
    **settings: dtype, param_dtype and remat.
  """
  v = variant
  if v.backbone == "resnet":
    return resnet.ResNet(v.depths, v.embed_dim, **settings)
  sizes = dict(
    embed_dim=v.embed_dim,
    depths=v.depths,
    num_heads=v.swin_heads,
    drop_path=v.drop_path,
    **settings,
  )
  if v.backbone == "swin":
    return swin.Swin(window=v.swin_window, **sizes)
  return video_swin.VideoSwin(**sizes)


def constants(variant: variants.Variant) -> tuple[str, ...]:
  """Regular expressions of the model's parameters that no training changes."""
  if variant.backbone == "resnet":
    return ("backbone_0/body/" + resnet.BATCH_NORM,)
  return ()


class Backbone(nn.Module):
  """The network of `make` under the name that checkpoints give it."""

  variant: variants.Variant
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: str = remat_lib.NONE

  def setup(self):
    self.body = make(
      self.variant,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      remat=self.remat,
    )

  def __call__(self, frames, num_frames=None, *, train=False):
    return self.body(frames, num_frames, train=train)
