"""Shapes that SgMg calls deformable attention with.

For benchmarks, tests and compilation ahead of time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgmg_jax.kernels.deform_attn import problem as problem_lib

# Height and width of frames as the model sees them: of most videos in
# inference, padded from 360 x 640, and of the largest in training.
FRAME_SIZES = {"360x640": (368, 640), "512x640": (512, 640)}
_STRIDE, _LEVELS = 8, 4


def encoder(
  height: int,
  width: int,
  *,
  frames: int = 5,
  heads: int = 8,
  channels: int = 32,
  points: int = 4,
  dtype=jnp.float32,
) -> problem_lib.Problem:
  """The encoder's call, a query per pixel of every level.

  The defaults are those of the released models.

  Args:
    height, width: of the padded frames.
    frames: N.
    heads: M.
    channels: D of one head.
    points: P of one level.
    dtype: of the values.
  """
  level_shapes = tuple(
    tuple(-(-side // (_STRIDE << level)) for side in (height, width))
    for level in range(_LEVELS)
  )
  return problem_lib.Problem(
    frames=frames,
    queries=sum(h * w for h, w in level_shapes),
    heads=heads,
    channels=channels,
    points=points,
    level_shapes=level_shapes,
    dtype=jnp.dtype(dtype),
  )


def decoder(
  encoder: problem_lib.Problem, queries: int = 5
) -> problem_lib.Problem:
  """The decoder's call, which samples what the encoder has made."""
  return encoder._replace(queries=queries)


def arguments(
  problem: problem_lib.Problem, sharding: jax.sharding.Sharding | None = None
) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Values, locations, weights and the cotangent of the output."""
  n, q, m, d, p = problem[:5]
  samples = (n, q, m, problem.levels, p)
  return tuple(
    jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    for shape, dtype in (
      ((n, problem.size, m, d), problem.dtype),
      ((*samples, 2), jnp.float32),
      (samples, jnp.float32),
      ((n, q, m * d), problem.dtype),
    )
  )
