"""Deformable transformer (Zhu et al., 2021) with iterative box refinement.

All frames are independent here: the leading dimension is F = B * T.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.model import (
  deformable_attention,
  dropout,
  layers,
  rowwise,
  variants,
  vision_language_fusion,
)
from sgmg_jax.model import remat as remat_lib


class _Layer(nn.Module):
  """Fields and parts of encoder and decoder layers."""

  num_heads: int
  ffn_dim: int
  num_points: int = 4
  dropout: float = 0.1
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @property
  def types(self):
    return dict(dtype=self.dtype, param_dtype=self.param_dtype)

  def norm(self, name, x):
    return layers.LayerNorm(name=name, **self.types)(x)

  def drop(self, x, train):
    return dropout.Dropout(self.dropout)(x, train=train)

  def mask(self, x, features, train):
    """The mask of `features` for each row of x in training, or None."""
    if not train or not self.dropout:
      return None
    shape = (x.size // x.shape[-1], features)
    return dropout.make_mask(self.make_rng("dropout"), shape, self.dropout)

  def attention(self, name):
    return deformable_attention.DeformableAttention(
      self.num_heads, self.num_points, name=name, **self.types
    )

  def norm_and_ffn(self, x, y, norm, train):
    """The sum of x and y normed, then the feed-forward net added.

    Args:
      x, y: float[F, Q, C], what attended and what it got.
      norm: name of the norm.
      train: drop out.
    """
    c = x.shape[-1]
    affine = functools.partial(
      layers.Affine, kernel_init=layers.xavier_uniform, **self.types
    )
    params = (
      layers.NormWeights(self.param_dtype, name=norm)(c),
      affine(c, self.ffn_dim, name="linear1")(),
      affine(self.ffn_dim, c, name="linear2")(),
    )
    masks = [self.mask(x, n, train) for n in (c, self.ffn_dim, c)]
    return rowwise.apply(_norm_and_ffn, params, (x, y), masks)


def _norm_and_ffn(params, inputs, masks, in_chunk):
  norm, linear1, linear2 = params
  x, y = inputs
  x = x + dropout.drop(y, masks[0])
  dtype = linear1[0].dtype
  x = layers.layer_norm(norm, x, in_chunk=in_chunk, dtype=dtype)
  y = layers.feed_forward(x, linear1, linear2, nn.relu, masks[1])
  return x + dropout.drop(y, masks[2])


class EncoderLayer(_Layer):
  """Deformable self-attention over all levels, then the feed-forward net."""

  @nn.compact
  def __call__(self, x, positions, references, valid, shapes, train=False):
    y = self.attention("self_attn")(x + positions, references, x, valid, shapes)
    return self.norm("norm2", self.norm_and_ffn(x, y, "norm1", train))


class DecoderLayer(_Layer):
  """Self-attention between a frame's queries, then deformable attention to
  the encoder's memory, then the feed-forward net."""

  @nn.compact
  def __call__(
    self, x, query_pos, references, memory, valid, shapes, *, train=False
  ):
    q = x + query_pos
    y = vision_language_fusion.PackedAttention(
      x.shape[-1], self.num_heads, self.dropout, name="self_attn", **self.types
    )(q, q, x, train=train)
    x = self.norm("norm2", x + self.drop(y, train))
    y = self.attention("cross_attn")(
      x + query_pos, references, memory, valid, shapes
    )
    return self.norm("norm3", self.norm_and_ffn(x, y, "norm1", train))


def valid_ratios(level_valid) -> jax.Array:
  """float[F, V, 2]: valid over total (width, height) of each level."""
  ratios = []
  for valid in level_valid:
    h, w = valid.shape[1:]
    rows = jnp.sum(valid[:, :, 0], 1, dtype=jnp.float32) / h
    columns = jnp.sum(valid[:, 0], 1, dtype=jnp.float32) / w
    ratios.append(jnp.stack([columns, rows], -1))
  return jnp.stack(ratios, 1)


def pixel_centres(level_shapes, ratios) -> jax.Array:
  """float[F, S, V, 2]: every token's (x, y), in units of every padded level.

  Args:
    level_shapes: V pairs (h, w).
    ratios: float[F, V, 2] of `valid_ratios`.
  """
  centres = []
  for level, (h, w) in enumerate(level_shapes):
    y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
    centre = np.stack([x / w, y / h], -1).reshape(-1, 2).astype(np.float32)
    centres.append(centre / ratios[:, level, None])
  return jnp.concatenate(centres, 1)[:, :, None] * ratios[:, None]


class Encoder(nn.Module):
  """The stack of encoder layers; for `remat` see `sgmg.SgMg`."""

  num_layers: int
  layer: dict[str, Any]
  remat: str = remat_lib.NONE

  @nn.compact
  def __call__(self, x, positions, references, valid, shapes, *, train=False):
    layer = remat_lib.wrap(EncoderLayer, self.remat, static_argnums=(5, 6))
    for i in range(self.num_layers):
      x = layer(**self.layer, name=f"layers_{i}")(
        x, positions, references, valid, shapes, train
      )
    return x


class Decoder(nn.Module):
  """The stack of decoder layers; boxes are refined between them."""

  num_layers: int
  layer: dict[str, Any]

  @nn.compact
  def __call__(
    self,
    x,
    query_pos,
    reference,
    memory,
    valid,
    ratios,
    shapes,
    box_heads,
    *,
    train=False,
  ):
    """Run all layers.

    Args:
      x: float[F, Q, C].
      query_pos: float[Q, C].
      reference: float[F, Q, 2], first reference points.
      memory: float[F, S, C] with valid bool[F, S].
      ratios: float[F, V, 2].
      shapes: V pairs (h, w).
      box_heads: one per layer, float[F, Q, C] -> [F, Q, 4].

    Returns:
      hidden float[N, F, Q, C] and boxes float[N, F, Q, 4].
    """
    hidden, boxes = [], []
    for i in range(self.num_layers):
      scale = jnp.tile(ratios, (1, 1, reference.shape[-1] // 2))
      x = DecoderLayer(**self.layer, name=f"layers_{i}")(
        x,
        query_pos,
        reference[:, :, None] * scale[:, None],
        memory,
        valid,
        shapes,
        train=train,
      )
      with precision.exact():
        shift = box_heads[i](x)
      known = layers.inverse_sigmoid(reference)
      if known.shape[-1] == 2:
        known = jnp.pad(known, [(0, 0), (0, 0), (0, 2)])
      box = nn.sigmoid(shift + known)
      hidden.append(x)
      boxes.append(box)
      reference = jax.lax.stop_gradient(box)
    return jnp.stack(hidden), jnp.stack(boxes)


class DeformableTransformer(nn.Module):
  """Encoder over all levels and decoder of instance queries, per frame."""

  width: int
  encoder_layers: int
  decoder_layers: int
  layer: dict[str, Any]
  remat: str = remat_lib.NONE

  def setup(self):
    self.encoder = Encoder(self.encoder_layers, self.layer, self.remat)
    self.decoder = Decoder(self.decoder_layers, self.layer)
    param_dtype = self.layer["param_dtype"]
    self.level_embed = self.param(
      "level_embed",
      nn.initializers.normal(1.0),
      (variants.NUM_LEVELS, self.width),
      param_dtype,
    )
    self.reference_points = layers.Dense(
      2,
      kernel_init=layers.xavier_uniform,
      dtype=precision.wide(self.layer["dtype"]),
      param_dtype=param_dtype,
    )

  def encode(self, levels, positions, level_valid, *, train=False):
    """The V encoded maps float[F, h, w, C].

    Args:
      levels: V maps float[F, h, w, C].
      positions: V maps float[F, h, w, C].
      level_valid: V maps bool[F, h, w].
      train: drop out.
    """
    shapes = tuple(x.shape[1:3] for x in levels)
    source = _flat(levels)
    positions = _flat(
      [
        (p + e).astype(source.dtype)
        for p, e in zip(positions, self.level_embed)
      ]
    )
    frames = (
      source,
      positions,
      pixel_centres(shapes, valid_ratios(level_valid)),
      _flat(level_valid),
    )
    if train or self.is_initializing():
      memory = self.encoder(*frames, shapes, train=train)
    else:
      # As a function: loops of JAX may not call modules.
      encoder, variables = self.encoder.unbind()
      memory = layers.frame_by_frame(
        lambda *frames: encoder.apply(variables, *frames, shapes), *frames
      )
    splits = np.cumsum([h * w for h, w in shapes])[:-1]
    return [
      x.reshape(-1, *shape, self.width)
      for x, shape in zip(jnp.split(memory, splits, 1), shapes)
    ]

  def decode(
    self, memory, level_valid, queries, query_pos, box_heads, *, train=False
  ):
    """Decode the queries.

    Args:
      memory: V maps float[F, h, w, C] of `encode`.
      level_valid: V maps bool[F, h, w].
      queries: float[F, Q, C], their start.
      query_pos: float[Q, C].
      box_heads: see `Decoder`.
      train: drop out.

    Returns:
      hidden float[N, F, Q, C], boxes float[N, F, Q, 4] and the first
      reference float[F, Q, 2].
    """
    with precision.exact():
      reference = nn.sigmoid(self.reference_points(query_pos))
    reference = jnp.broadcast_to(reference, (len(queries), *reference.shape))
    hidden, boxes = self.decoder(
      queries,
      query_pos.astype(queries.dtype),
      reference,
      _flat(memory),
      _flat(level_valid),
      valid_ratios(level_valid),
      tuple(x.shape[1:3] for x in memory),
      box_heads,
      train=train,
    )
    return hidden, boxes, reference


def _flat(maps):
  """V maps [F, h, w, ...] -> [F, S, ...]."""
  return jnp.concatenate(
    [x.reshape(x.shape[0], -1, *x.shape[3:]) for x in maps], 1
  )
