"""Dropout whose random bits cost next to nothing.

JAX draws 64 bits from 20 rounds of Threefry for every number, which takes a
CPU longer than the matrix product whose result is dropped out. Here the bits
of an entry are a hash of its row's and its column's, which are hashes of their
numbers and two random words. They depend on nothing but key and shape, whatever
is sharded, and any rows of a mask can be made again without the others.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct

from sgmg_jax import types

Array = types.Array


@struct.dataclass
class Mask:
  """Entries of a matrix that are dropped; `rows` may be cut into pieces.

  Attributes:
    rows: uint32[R], bits of each row.
    columns: uint32[C], bits of each column.
    rate: probability of an entry to be dropped.
  """

  rows: Array
  columns: Array
  rate: float = struct.field(pytree_node=False)

  def apply(self, x: Array) -> Array:
    """Drops entries of x float[R, C], the others over 1 - rate."""
    bits = _mix(self.rows[:, None] ^ self.columns)
    kept = bits >= np.uint32(self.rate * 2**32)
    return jnp.where(kept, x / (1 - self.rate), 0).astype(x.dtype)


def make_mask(key: Array, shape: tuple[int, int], rate: float) -> Mask:
  """A mask for a matrix of `shape`."""
  salts = jax.random.bits(key, (2,), jnp.uint32)
  rows, columns = (
    _mix(jnp.arange(n, dtype=jnp.uint32) + salt)
    for n, salt in zip(shape, salts, strict=True)
  )
  return Mask(rows, columns, rate)


def drop(x: Array, mask: Mask | None) -> Array:
  """x float[R, C] without what a mask drops; all of it without a mask."""
  return x if mask is None else mask.apply(x)


def _mix(x):
  """The finaliser of MurmurHash3 (Appleby, 2011): every bit of x changes
  every bit of the result with a probability of one half."""
  x ^= x >> 16
  x *= np.uint32(0x85EBCA6B)
  x ^= x >> 13
  x *= np.uint32(0xC2B2AE35)
  return x ^ x >> 16


class Dropout(nn.Module):
  """Drops entries in training and divides the others by 1 - rate."""

  rate: float

  @nn.compact
  def __call__(self, x, *, train: bool):
    """x float[..., C]."""
    if not train or not self.rate:
      return x
    rows = x.reshape(-1, x.shape[-1])
    mask = make_mask(self.make_rng("dropout"), rows.shape, self.rate)
    return mask.apply(rows).reshape(x.shape)
