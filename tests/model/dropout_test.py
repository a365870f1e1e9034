"""Dropout drops at its rate, independently, and nothing depends on shares."""

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax.model import dropout

SHAPE = (1000, 500)


def dropped(seed, rate=0.1):
  mask = dropout.make_mask(jax.random.key(seed), SHAPE, rate)
  return np.asarray(mask.apply(jnp.ones(SHAPE)) == 0)


def test_rate_and_scale():
  for rate in (0.1, 0.5):
    bound = 5 * np.sqrt(rate * (1 - rate) / np.prod(SHAPE))
    assert abs(dropped(0, rate).mean() - rate) < bound
  x = dropout.make_mask(jax.random.key(0), SHAPE, 0.1).apply(jnp.ones(SHAPE))
  assert set(np.unique(np.asarray(x))) == {0, np.float32(1 / 0.9)}


def test_entries_are_independent():
  a, b = (dropped(seed).astype(np.float64) - 0.1 for seed in (0, 1))
  pairs = {
    "keys": (a, b),
    "rows": (a[1:], a[:-1]),
    "columns": (a[:, 1:], a[:, :-1]),
    "rectangles": (a[1:, 1:] * a[:-1, :-1], a[1:, :-1] * a[:-1, 1:]),
  }
  for name, (x, y) in pairs.items():
    products = (x * y).ravel()
    bound = 5 * products.std() / np.sqrt(products.size)
    assert abs(products.mean()) < bound, name
  # Sums of rows and columns spread as those of independent entries do.
  for axis in (0, 1):
    variance = a.sum(axis).var() / (0.09 * SHAPE[axis])
    assert 0.75 < variance < 1.25


def test_rows_cut_out_are_the_same():
  mask = dropout.make_mask(jax.random.key(0), SHAPE, 0.1)
  x = jnp.ones(SHAPE)
  part = mask.replace(rows=mask.rows[200:300]).apply(x[200:300])
  np.testing.assert_array_equal(part, mask.apply(x)[200:300])
