"""Static description of one call of deformable attention.

Implementations decide from a `Problem` alone whether they can run it, so the
same answer comes with arrays, with tracers and with nothing but shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

# The decoder has a handful of queries: below this number kernels and
# projections that pay for the encoder cost more than they save.
FEW_QUERIES = 64


class Problem(NamedTuple):
  """Sizes and dtype of one call; hashable.

  Attributes:
    frames: N, images (frames times clips).
    queries: Q.
    heads: M.
    channels: D, channels of one head.
    points: P, samples of each level.
    level_shapes: V pairs (h, w).
    dtype: of the values; a NumPy dtype.
  """

  frames: int
  queries: int
  heads: int
  channels: int
  points: int
  level_shapes: tuple[tuple[int, int], ...]
  dtype: np.dtype

  @property
  def levels(self) -> int:
    return len(self.level_shapes)

  @property
  def size(self) -> int:
    """S, rows of the value table."""
    return sum(h * w for h, w in self.level_shapes)


def starts(level_shapes: Sequence[tuple[int, int]]) -> tuple[int, ...]:
  """First row of each level in the value table."""
  return tuple(
    sum(h * w for h, w in level_shapes[:level])
    for level in range(len(level_shapes))
  )


def make(
  values: Any,
  locations: Any,
  weights: Any,
  level_shapes: Sequence[tuple[int, int]],
) -> Problem:
  """The problem of three arrays, or of anything with shape and dtype.

  Args:
    values: [N, S, M, D].
    locations: [N, Q, M, V, P, 2].
    weights: [N, Q, M, V, P].
    level_shapes: V pairs (h, w).

  Raises:
    ValueError: the shapes do not fit each other.
  """
  level_shapes = tuple((int(h), int(w)) for h, w in level_shapes)
  if len(values.shape) != 4:
    raise ValueError(f"{values.shape=}, expected (N, S, M, D)")
  n, s, m, d = values.shape
  if s != sum(math.prod(shape) for shape in level_shapes):
    raise ValueError(f"{values.shape=} does not hold {level_shapes=}")
  q, p = [*locations.shape, 0, 0, 0, 0, 0][1:5:3]
  expected = (n, q, m, len(level_shapes), p, 2)
  if locations.shape != expected:
    raise ValueError(f"{locations.shape=}, expected {expected}")
  if weights.shape != expected[:-1]:
    raise ValueError(f"{weights.shape=}, expected {expected[:-1]}")
  return Problem(n, q, m, d, p, level_shapes, jnp.dtype(values.dtype))
