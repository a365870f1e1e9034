"""Multi-scale deformable attention sampling: one function, chosen form.

`deformable_attention` is the sampling core of Deformable DETR (Zhu et al.,
2021, equation 3): every query reads a few bilinearly interpolated points of
every feature level and adds them up with its own weights. Projections stay
outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
from sgmg_jax.kernels.deform_attn import xla

Implementation = Literal["xla"]


def deformable_attention(
  values: jax.Array,
  locations: jax.Array,
  weights: jax.Array,
  *,
  level_shapes: Sequence[tuple[int, int]],
  implementation: Implementation | None = None,
) -> jax.Array:
  """Weighted sum of bilinear samples over all levels and points.

  Args:
    values: float[N, S, M, D], the levels one after the other, row-major, with
      S the sum of h * w over `level_shapes`.
    locations: float[N, Q, M, V, P, 2], (x, y) in units of the level's size:
      (0, 0) is the outer corner of the first pixel, (1, 1) that of the last.
      Samples outside a level read zero.
    weights: float[N, Q, M, V, P].
    level_shapes: V pairs (h, w), static.
    implementation: None for the best that runs here, or a name, which is
      then used or raises.

  Returns:
    float[N, Q, M * D] in the dtype of `values`.

  Raises:
    ValueError: shapes do not fit, or the implementation is unknown.
  """
  level_shapes = tuple((int(h), int(w)) for h, w in level_shapes)
  _check(values, locations, weights, level_shapes)
  if implementation not in (None, "xla"):
    raise ValueError(
      f"unknown implementation {implementation!r}; known: None, 'xla'"
    )
  return xla.sample(values, locations, weights, level_shapes)


def _check(values, locations, weights, level_shapes):
  n, s, m, _ = values.shape
  if s != sum(h * w for h, w in level_shapes):
    raise ValueError(f"{values.shape=} does not hold {level_shapes=}")
  expected = (n, locations.shape[1], m, len(level_shapes))
  if locations.shape[:4] != expected or locations.shape[5:] != (2,):
    raise ValueError(f"{locations.shape=}, expected {expected} + (P, 2)")
  if weights.shape != locations.shape[:5]:
    raise ValueError(f"{weights.shape=}, expected {locations.shape[:5]}")
