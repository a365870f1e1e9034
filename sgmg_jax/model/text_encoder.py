"""RoBERTa text encoder (Liu et al., 2019), SgMg section 3, appendix A.

Post-norm; submodules have the names of Hugging Face's.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sgmg_jax import precision
from sgmg_jax.model import dropout, layers

# For encoders trained from scratch; a pretrained one replaces them. RoBERTa's
# own 0.02 everywhere would drown the words in what all sentences share.
_kernel_init = layers.xavier_uniform
_word_init = nn.initializers.normal(1.0)
_position_init = nn.initializers.normal(0.2)


class _Part(nn.Module):
  """Fields every module of this file has."""

  width: int
  dropout: float = 0.1
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @property
  def types(self):
    return dict(dtype=self.dtype, param_dtype=self.param_dtype)

  def dense(self, name, features=None):
    return layers.Dense(
      features or self.width, kernel_init=_kernel_init, name=name, **self.types
    )

  def norm(self, x):
    return layers.LayerNorm(name="LayerNorm", **self.types)(x)

  def drop(self, x, train):
    return dropout.Dropout(self.dropout)(x, train=train)


class Embeddings(_Part):
  """Words, positions and the one token type."""

  vocab_size: int = 50265
  positions: int = 514
  pad_token_id: int = 1

  @nn.compact
  def __call__(self, tokens, *, train=False):
    embed = functools.partial(nn.Embed, features=self.width, **self.types)
    # Positions count the tokens that are not padding, from pad id + 1.
    real = tokens != self.pad_token_id
    position = jnp.cumsum(real, -1) * real + self.pad_token_id
    x = (
      embed(self.vocab_size, embedding_init=_word_init, name="word_embeddings")(
        tokens
      )
      + embed(
        self.positions,
        embedding_init=_position_init,
        name="position_embeddings",
      )(position)
      + embed(1, embedding_init=_position_init, name="token_type_embeddings")(
        jnp.zeros_like(tokens)
      )
    )
    return self.drop(self.norm(x), train)


class SelfAttention(_Part):
  """Multi-head self-attention without the output projection."""

  num_heads: int = 12

  @nn.compact
  def __call__(self, x, valid, *, train=False):
    split = lambda y: y.reshape(*y.shape[:-1], self.num_heads, -1)
    q, k, v = (split(self.dense(n)(x)) for n in ("query", "key", "value"))
    scores = jnp.einsum("bqmd,bkmd->bmqk", q, k)
    scores = precision.at_least_float32(scores) * q.shape[-1] ** -0.5
    scores = jnp.where(valid[:, None, None], scores, -1e30)
    weights = self.drop(nn.softmax(scores).astype(x.dtype), train)
    return jnp.einsum("bmqk,bkmd->bqmd", weights, v).reshape(x.shape)


class Output(_Part):
  """Projection, dropout, residual, norm."""

  @nn.compact
  def __call__(self, x, residual, *, train=False):
    return self.norm(self.drop(self.dense("dense")(x), train) + residual)


class Attention(_Part):
  """Self-attention with its output block."""

  num_heads: int = 12

  @nn.compact
  def __call__(self, x, valid, *, train=False):
    args = (self.width, self.dropout, self.dtype, self.param_dtype)
    y = SelfAttention(*args, self.num_heads, name="self")(x, valid, train=train)
    return Output(*args, name="output")(y, x, train=train)


class Intermediate(_Part):
  """The wide half of the feed-forward network, exact GELU."""

  ffn: int = 3072

  @nn.compact
  def __call__(self, x):
    return nn.gelu(self.dense("dense", self.ffn)(x), approximate=False)


class Layer(_Part):
  """One transformer layer."""

  num_heads: int = 12
  ffn: int = 3072

  @nn.compact
  def __call__(self, x, valid, *, train=False):
    args = (self.width, self.dropout, self.dtype, self.param_dtype)
    x = Attention(*args, self.num_heads, name="attention")(
      x, valid, train=train
    )
    y = Intermediate(*args, self.ffn, name="intermediate")(x)
    return Output(*args, name="output")(y, x, train=train)


class Encoder(_Part):
  """The stack of layers."""

  num_layers: int = 12
  num_heads: int = 12
  ffn: int = 3072

  @nn.compact
  def __call__(self, x, valid, *, train=False):
    args = (self.width, self.dropout, self.dtype, self.param_dtype)
    for i in range(self.num_layers):
      x = Layer(*args, self.num_heads, self.ffn, name=f"layer_{i}")(
        x, valid, train=train
      )
    return x


class Pooler(_Part):
  """tanh of a linear layer on the first token."""

  @nn.compact
  def __call__(self, x):
    return jnp.tanh(self.dense("dense")(x[:, 0]))


class Roberta(nn.Module):
  """RoBERTa: word features and a pooled sentence feature."""

  vocab_size: int = 50265
  width: int = 768
  num_layers: int = 12
  num_heads: int = 12
  ffn: int = 3072
  positions: int = 514
  pad_token_id: int = 1
  dropout: float = 0.1
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, tokens, valid, *, train=False):
    """(float[B, L, width], float[B, width]) of tokens int[B, L] with
    valid bool[B, L]."""
    args = (self.width, self.dropout, self.dtype, self.param_dtype)
    x = Embeddings(
      *args,
      self.vocab_size,
      self.positions,
      self.pad_token_id,
      name="embeddings",
    )(tokens, train=train)
    x = Encoder(
      *args, self.num_layers, self.num_heads, self.ffn, name="encoder"
    )(x, valid, train=train)
    return x, Pooler(*args, name="pooler")(x)


class TextEncoder(nn.Module):
  """`Roberta` under the name that checkpoints give it."""

  roberta: dict[str, Any]

  def setup(self):
    self.text_backbone = Roberta(**self.roberta)

  def __call__(self, tokens, valid, *, train=False):
    return self.text_backbone(tokens, valid, train=train)


class FeatureResizer(nn.Module):
  """Linear layer, norm and dropout from RoBERTa's width to the model's.

  The norm's epsilon is 1e-12, unlike everywhere else.
  """

  features: int
  dropout: float = 0.1
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train=False):
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    x = layers.torch_dense(self.features, x.shape[-1], name="fc", **types)(x)
    x = layers.LayerNorm(epsilon=1e-12, name="layer_norm", **types)(x)
    return dropout.Dropout(self.dropout)(x, train=train)
