"""Means whose sums and counts can be added over the shares of a batch.

A mean over a batch is no sum of its shares' means where these count
differently many entries. So losses and metrics are sums and counts until all
shares are added up, and quotients only then.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from sgmg_jax import types

Array = types.Array


@struct.dataclass
class Mean:
  """A sum of quotients, each a sum over a count; `+` and `*` with a number.

  Attributes:
    total: float[k], sums over this share of the batch.
    count: float[k], what they are divided by, at least 1 in the end.
  """

  total: Array
  count: Array

  @property
  def value(self) -> Array:
    """float[]; 0 where nothing is counted, as sums then are."""
    return jnp.sum(self.total / jnp.maximum(self.count, 1.0))

  def __add__(self, other: Mean | float) -> Mean:
    if isinstance(other, float | int) and other == 0:
      return self
    if not isinstance(other, Mean):
      return NotImplemented
    return Mean(
      jnp.concatenate([self.total, other.total]),
      jnp.concatenate([self.count, other.count]),
    )

  # `sum` begins with 0.
  __radd__ = __add__

  def __mul__(self, factor: float) -> Mean:
    return Mean(factor * self.total, self.count)

  __rmul__ = __mul__


def of(total: Array, count: Array) -> Mean:
  """One quotient: `total` over `count`, both numbers."""
  return Mean(total.reshape(1), count.astype(total.dtype).reshape(1))


def masked(x: Array, where: Array) -> Mean:
  """The mean of `x` over the entries that `where` picks.

  Every element of `where` is an entry; `x` has its shape.
  """
  where = where.astype(jnp.float32)
  return of(jnp.sum(x * where), jnp.sum(where))


def values(measured: Any) -> Any:
  """The value of every mean of a tree."""
  is_mean = lambda x: isinstance(x, Mean)
  return jax.tree.map(lambda mean: mean.value, measured, is_leaf=is_mean)
