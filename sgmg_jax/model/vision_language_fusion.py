"""Fusion of words into visual features, SgMg section 3.2."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.model import dropout, layers


class PackedAttention(nn.Module):
  """Multi-head attention with one packed input projection."""

  num_heads: int
  dropout: float = 0.0
  kernel_init: Any = layers.xavier_uniform
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, query, key, value, key_valid=None, *, train=False):
    """float[B, Lq, C], [B, L, C], [B, L, C], bool[B, L] -> [B, Lq, C].

    There are few keys, so the queries' projection is applied to the keys and
    the output's to the values: query and output are multiplied once.
    """
    (b, length, c), m = key.shape, self.num_heads
    affine = functools.partial(
      layers.Affine,
      c,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
    in_kernel, in_bias = affine(3 * c, name="in_proj")()
    out_kernel, out_bias = affine(c, name="out_proj")()
    query, key, value = (x.astype(self.dtype) for x in (query, key, value))
    kernels, biases = jnp.split(in_kernel, 3, -1), jnp.split(in_bias, 3)
    k, v = (
      (layers.matmul(x, kernel) + bias).reshape(b, length, m, -1)
      for x, kernel, bias in zip((key, value), kernels[1:], biases[1:])
    )
    k = k * k.shape[-1] ** -0.5
    # [B, C, M L], [B, M L], [B, M L, C]
    projected_keys = jnp.einsum(
      "cmd,bkmd->bcmk", kernels[0].reshape(c, m, -1), k
    )
    offset = jnp.einsum("md,bkmd->bmk", biases[0].reshape(m, -1), k)
    projected_values = jnp.einsum(
      "bkmd,mdc->bmkc", v, out_kernel.reshape(m, -1, c)
    )
    scores = query @ projected_keys.reshape(b, c, -1) + offset.reshape(b, 1, -1)
    scores = precision.at_least_float32(scores.reshape(b, -1, m, length))
    if key_valid is not None:
      scores = jnp.where(key_valid[:, None, None], scores, -1e30)
    weights = nn.softmax(scores).astype(self.dtype)
    weights = dropout.Dropout(self.dropout)(weights, train=train)
    weights = weights.reshape(b, -1, m * length)
    return weights @ projected_values.reshape(b, -1, c) + out_bias


class VisionLanguageFusion(nn.Module):
  """Words attended to by every visual token, multiplied into it.

  Every visual token attends by itself, so frames and padding do not mix.
  """

  num_heads: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def setup(self):
    self.multihead_attn = PackedAttention(
      self.num_heads,
      kernel_init=layers.xavier_uniform,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )

  def __call__(self, visual, text):
    """float[B, T, h, w, C] and `TextFeatures` -> float[B, T, h, w, C]."""
    tokens = visual.reshape(visual.shape[0], -1, visual.shape[-1])
    attended = self.multihead_attn(
      tokens, text.words + text.word_pos, text.words, text.word_valid
    )
    return (attended * tokens).reshape(visual.shape)
