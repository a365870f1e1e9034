"""Tiles of the TPU kernels: queries on lanes, levels as blocks of pixels.

TPUs have no gather worth the name, but much arithmetic. A bilinear sample is
a product of two tents, max(0, 1 - |x - j|) max(0, 1 - |y - i|), over all
pixels (i, j) of a level; so per head and tile of queries the kernels build

  A[(i, j), q] = sum_p tent_x[p, j, q] * weight[p, q] * tent_y[p, i, q]

and multiply the values with it. Queries lie on the 128 lanes, pixels on the
sublanes, so that a tent needs no relayout and zero padding of a level gives
samples outside it the value zero.

A level is cut into blocks of rows. What one block does is straight-line code:
the compiler then overlaps the vector unit, which is the limit, with the
matrix unit. Blocks of up to 2048 pixels fill it to 90 %, those of 640 to 70 %.
"""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from sgmg_jax.kernels.deform_attn import problem as problem_lib

# Queries of one tile: the lanes of one vector register. More would only
# lengthen the code, and fewer than this do not exist on any chip.
TILE = 128
# Rows of a register; bfloat16 packs two into one.
SUBLANES = 8
# Registers of columns in a block: the tents of four points, or the two rows
# that the backward pass keeps for each of them, still fit the 64 registers.
_STRIP = 5
# Pixels of one block. Twice as many gain 3 % and double the compile time.
_BLOCK_PIXELS = 2048
# v5p and v7x have 64 MiB; this leaves room for what the compiler spills.
_VMEM_BYTES = 52 * 2**20

_DTYPES = ("float32", "bfloat16")


class Level(NamedTuple):
  """One level as the kernels see it: a grid of blocks, padded with zeros.

  Attributes:
    height: of the level.
    width: of the level.
    rows: of a block.
    columns: of a block, whole registers.
    bands: blocks below each other.
    strips: blocks beside each other.
  """

  height: int
  width: int
  rows: int
  columns: int
  bands: int
  strips: int

  @property
  def keys(self) -> int:
    """Pixels of one block."""
    return self.rows * self.columns

  @property
  def blocks(self) -> int:
    return self.bands * self.strips

  @property
  def padded(self) -> tuple[int, int]:
    """Height and width of all blocks."""
    return self.bands * self.rows, self.strips * self.columns


def round_up(x: int, multiple: int) -> int:
  return -(-x // multiple) * multiple


def make_level(height: int, width: int) -> Level:
  """Cut a level into strips of at most 40 columns and then into bands."""
  registers = -(-width // SUBLANES)
  # The largest strip among those that pad least.
  strip = min(
    range(min(3, registers), min(_STRIP, registers) + 1),
    key=lambda strip: (round_up(registers, strip), -strip),
  )
  columns = strip * SUBLANES
  bands = -(-height // (_BLOCK_PIXELS // columns))
  # Whole registers of two packed rows for bfloat16.
  rows = round_up(-(-height // bands), 1 if strip % 2 == 0 else 2)
  return Level(height, width, rows, columns, bands, -(-registers // strip))


def make_levels(level_shapes) -> tuple[Level, ...]:
  return tuple(make_level(h, w) for h, w in level_shapes)


def channels(d: int) -> int:
  """Channels of one head, padded to whole registers of either dtype."""
  return round_up(d, 2 * SUBLANES)


def why_not(problem: problem_lib.Problem) -> str | None:
  """Reason that the kernels cannot run a problem, or None."""
  if problem.dtype.name not in _DTYPES:
    return f"dtype {problem.dtype.name} is none of {', '.join(_DTYPES)}"
  if not (problem.frames * problem.queries * problem.size * problem.points):
    return "there is nothing to compute"
  used = _vmem_bytes(problem)
  if used > _VMEM_BYTES:
    return (
      f"{problem.size} pixels of {problem.heads * problem.channels} channels "
      f"need {used >> 20} MiB of VMEM, the kernels take {_VMEM_BYTES >> 20}"
    )
  return None


def _vmem_bytes(problem):
  """Need of the backward kernel, which holds the values' gradient, too."""
  pixels = sum(
    x.blocks * round_up(x.keys, TILE) for x in make_levels(problem.level_shapes)
  )
  row = round_up(problem.heads * channels(problem.channels), TILE)
  # Two of each, while the next frame's are copied and the last one's are.
  held = 2 * pixels * row * (problem.dtype.itemsize + 4)
  coordinates = problem.heads * problem.levels * problem.points * 3
  tiles = 6 * TILE * 4 * (round_up(coordinates, TILE) + row)
  widest = max(sum(x.padded) for x in make_levels(problem.level_shapes))
  return held + tiles + 2 * problem.points * widest * TILE * 4


def vmem_limit() -> int:
  """For the compiler, whose own limit is 16 MiB."""
  return _VMEM_BYTES + 8 * 2**20


def precision_of(dtype, precision):
  """Precision of products: exact in float32 unless the caller chooses."""
  if dtype == jnp.bfloat16:
    # Not None, which JAX's default precision would replace.
    return jax.lax.Precision.DEFAULT
  return jax.lax.Precision.HIGHEST if precision is None else precision


def pack(values, level_shapes) -> list[jax.Array]:
  """[N, S, C] -> per level [N, blocks, keys, C], padded with zeros."""
  n, _, c = values.shape
  packed = []
  starts = problem_lib.starts(level_shapes)
  for start, level in zip(starts, make_levels(level_shapes)):
    stop = start + level.height * level.width
    x = values[:, start:stop].reshape(n, level.height, level.width, c)
    below = level.padded[0] - level.height
    right = level.padded[1] - level.width
    x = jnp.pad(x, [(0, 0), (0, below), (0, right), (0, 0)])
    x = x.reshape(n, level.bands, level.rows, level.strips, level.columns, c)
    packed.append(x.swapaxes(2, 3).reshape(n, level.blocks, level.keys, c))
  return packed


def unpack(packed, level_shapes) -> jax.Array:
  """The inverse of `pack`."""
  maps = []
  for x, level in zip(packed, make_levels(level_shapes)):
    n, c = x.shape[0], x.shape[-1]
    x = x.reshape(n, level.bands, level.strips, level.rows, level.columns, c)
    x = x.swapaxes(2, 3).reshape(n, *level.padded, c)
    x = x[:, : level.height, : level.width]
    maps.append(x.reshape(n, -1, c))
  return jnp.concatenate(maps, 1)


def pad_queries(x):
  """At least one tile; the last of several may be cut by the array's end."""
  missing = max(0, TILE - x.shape[1])
  return jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2))


def pad_channels(x):
  """Whole registers for each head: [..., D] -> [..., channels(D)]."""
  missing = channels(x.shape[-1]) - x.shape[-1]
  return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])


def pixels(count: int):
  """float32[count, TILE] of 0, 1, … downwards."""
  return jax.lax.broadcasted_iota(jnp.int32, (count, TILE), 0).astype(
    jnp.float32
  )


def tent(centre, count: int):
  """float32[count, TILE]: share of pixels 0, 1, … in samples at `centre`.

  Args:
    centre: float32[1, TILE], pixel coordinates.
    count: of pixels.
  """
  return jnp.maximum(0.0, 1.0 - jnp.abs(centre - pixels(count)))


def origin(block, level: Level):
  """(row, column) where a block begins."""
  # Not `//`, for which the compiler looks for a chip; there may be none.
  band = jax.lax.div(block, level.strips)
  strip = jax.lax.rem(block, level.strips)
  return band * level.rows, strip * level.columns


def attention(tents_x, tents_y, level: Level, row, column):
  """A of the module's docstring for one block.

  Args:
    tents_x: Ref float32[P, width, TILE].
    tents_y: Ref float32[P, height, TILE], times the weights.
    level: which.
    row, column: where the block begins.

  Returns:
    float32[keys, TILE].
  """
  column = pl.multiple_of(column, SUBLANES)
  points = range(tents_x.shape[0])
  x = [tents_x[point, pl.ds(column, level.columns), :] for point in points]
  parts = []
  for i in range(level.rows):
    y = [tents_y[point, pl.ds(row + i, 1), :] for point in points]
    parts.append(functools.reduce(operator.add, map(operator.mul, x, y)))
  return jnp.concatenate(parts, 0)
