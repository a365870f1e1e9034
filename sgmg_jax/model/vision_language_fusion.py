"""Fusion of words into visual features, SgMg section 3.2."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from sgmg_jax import precision
from sgmg_jax.model import dropout, layers


@struct.dataclass
class Words:
  """Keys and values of R rows, with the projections of queries and output
  absorbed: there are few keys, so query and output are multiplied once.

  Attributes:
    keys: float[R, C, M, L].
    offsets: float[R, M, L], what the bias of the queries' projection adds.
    values: float[R, M, L, C].
    bias: float[R, C], of the output.
    valid: bool[R, 1, L], or of each head bool[R, M, L]; None: all are.
  """

  keys: jax.Array
  offsets: jax.Array
  values: jax.Array
  bias: jax.Array
  valid: jax.Array | None = None


def attention_weights(query, words: Words) -> jax.Array:
  """Softmax over the words: query float[R, P, C] -> float32[R, P, M, L]."""
  r, c, m, length = words.keys.shape
  scores = query @ words.keys.reshape(r, c, -1)
  scores += words.offsets.reshape(r, 1, -1)
  scores = precision.at_least_float32(scores.reshape(r, -1, m, length))
  if words.valid is not None:
    scores = jnp.where(words.valid[:, None], scores, -1e30)
  return nn.softmax(scores)


def weighted_sum(weights, words: Words) -> jax.Array:
  """float[R, P, M, L] times the values, [R, P, C]."""
  r, m, length, c = words.values.shape
  values = words.values.reshape(r, -1, c)
  out = weights.astype(values.dtype).reshape(r, -1, m * length) @ values
  return out + words.bias[:, None]


def fuse(tokens, words: Words) -> jax.Array:
  """float[R, P, C] times what they attend to."""
  return weighted_sum(attention_weights(tokens, words), words) * tokens


def for_each_expression(
  function: Callable[[Any, Words], jax.Array], tokens, words: Words
) -> jax.Array:
  """function(tokens, words) of each expression and its clip.

  It gets one expression of every clip at a time: what it computes then takes
  memory for these only, and no clip is copied.

  Args:
    function: of float[B, P, C] and the words of B rows, which it must not mix.
    tokens: float[B, P, C].
    words: of B * E rows.

  Returns:
    [B * E, ...].
  """
  b, rows = len(tokens), len(words.bias)
  if b == rows:
    return function(tokens, words)
  of_clips = lambda x: jnp.moveaxis(x.reshape(b, -1, *x.shape[1:]), 1, 0)
  out = jax.lax.map(
    lambda words: function(tokens, words), jax.tree.map(of_clips, words)
  )
  return jnp.moveaxis(out, 0, 1).reshape(rows, *out.shape[2:])


class PackedAttention(nn.Module):
  """Multi-head attention with one packed input projection."""

  width: int
  num_heads: int
  dropout: float = 0.0
  kernel_init: Any = layers.xavier_uniform
  out_kernel_init: Any = layers.xavier_uniform
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def setup(self):
    affine = functools.partial(
      layers.Affine,
      self.width,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
    self.in_proj = affine(3 * self.width, kernel_init=self.kernel_init)
    self.out_proj = affine(self.width, kernel_init=self.out_kernel_init)
    self.drop = dropout.Dropout(self.dropout)

  def __call__(self, query, key, value, *, train=False):
    """float[B, Lq, C], [B, L, C], [B, L, C] -> [B, Lq, C]."""
    words = self.project(key, value)
    weights = attention_weights(query.astype(self.dtype), words)
    return weighted_sum(self.drop(weights, train=train), words)

  def project(self, key, value, key_valid=None) -> Words:
    """`Words` of float[R, L, C], [R, L, C] and bool[R, L]."""
    (r, length, c), m = key.shape, self.num_heads
    (in_kernel, in_bias), (out_kernel, out_bias) = (
      self.in_proj(),
      self.out_proj(),
    )
    kernels, biases = jnp.split(in_kernel, 3, -1), jnp.split(in_bias, 3)
    k, v = (
      (layers.matmul(x.astype(self.dtype), kernel) + bias).reshape(
        r, length, m, -1
      )
      for x, kernel, bias in zip((key, value), kernels[1:], biases[1:])
    )
    k = k * k.shape[-1] ** -0.5
    return Words(
      keys=jnp.einsum("cmd,rkmd->rcmk", kernels[0].reshape(c, m, -1), k),
      offsets=jnp.einsum("md,rkmd->rmk", biases[0].reshape(m, -1), k),
      values=jnp.einsum("rkmd,mdc->rmkc", v, out_kernel.reshape(m, -1, c)),
      bias=jnp.broadcast_to(out_bias, (r, c)),
      valid=None if key_valid is None else key_valid[:, None],
    )


class VisionLanguageFusion(nn.Module):
  """Words attended to by every visual token, multiplied into it.

  Every visual token attends by itself, so frames and padding do not mix.
  """

  width: int
  num_heads: int
  out_kernel_init: Any = layers.xavier_uniform
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def setup(self):
    self.multihead_attn = PackedAttention(
      self.width,
      self.num_heads,
      out_kernel_init=self.out_kernel_init,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )

  def __call__(self, visual, text):
    """float[B, T, h, w, C] and `TextFeatures` of B * E expressions ->
    float[B * E, T, h, w, C]."""
    tokens = visual.reshape(visual.shape[0], -1, visual.shape[-1])
    out = for_each_expression(fuse, tokens, self.words(text))
    return out.reshape(-1, *visual.shape[1:])

  def words(self, text) -> Words:
    """The words of `TextFeatures`."""
    return self.multihead_attn.project(
      text.words + text.word_pos, text.words, text.word_valid
    )
