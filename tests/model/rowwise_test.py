"""Rows in chunks, as a CPU takes them, against all rows at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from sgmg_jax.model import dropout, layers, rowwise


def draw(random, *shape):
  return jnp.asarray(random.standard_normal(shape), jnp.float32)


def residual_net(params, inputs, masks, in_chunk):
  norm, first, second = params
  x, y = inputs
  x = layers.layer_norm(norm, x + masks[0].apply(y), in_chunk=in_chunk)
  return x + layers.feed_forward(x, first, second, jax.nn.relu, masks[1])


def assert_close(results, expected):
  for a, b in zip(*map(jax.tree.leaves, (results, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


# 12 chunks of 3 rows, one of them filled up; 5 of 7.
@pytest.mark.parametrize("rows", [3, 7])
def test_chunks_are_the_whole(monkeypatch, rows):
  random = np.random.RandomState(0)
  inputs = draw(random, 5, 7, 8), draw(random, 5, 7, 8)
  norm = {"scale": draw(random, 8), "bias": draw(random, 8)}
  first = draw(random, 8, 16), draw(random, 16)
  second = draw(random, 16, 8), draw(random, 8)
  masks = [
    dropout.make_mask(jax.random.key(i), (35, c), 0.2)
    for i, c in enumerate((8, 16))
  ]

  def loss(params, inputs):
    y = rowwise.apply(residual_net, params, inputs, [*masks, None])
    return jnp.sum(jnp.square(y)), y

  gradient = jax.value_and_grad(loss, (0, 1), has_aux=True)
  expected = gradient((norm, first, second), inputs)
  monkeypatch.setattr(rowwise, "_CACHED_ROWS", rows)
  assert_close(gradient((norm, first, second), inputs), expected)


def test_layer_norm_is_that_of_flax(monkeypatch):
  monkeypatch.setattr(rowwise, "_CACHED_ROWS", 4)
  random = np.random.RandomState(0)
  x, weights = 3 + draw(random, 2, 9, 8), draw(random, 2, 9, 8)
  params = {"scale": draw(random, 8), "bias": draw(random, 8)}

  def gradient(norm):
    loss = lambda params, x: jnp.sum(weights * norm.apply(params, x))
    return jax.value_and_grad(loss, (0, 1))({"params": params}, x)

  assert_close(
    gradient(layers.LayerNorm(epsilon=1e-3)), gradient(nn.LayerNorm(1e-3))
  )
