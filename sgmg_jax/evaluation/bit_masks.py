"""Masks with eight pixels a byte: boundaries, dilation and counts on the host.

A mask is cut into eight bands of as many rows, from top to bottom; a byte
holds the pixels of the same place in all bands, the first band's in the lowest
bit. A pixel's neighbours lie in neighbouring bytes, so eight bands move at once
by moving memory. Bits only move where a band meets the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_BANDS = 8


def used_rows(masks: Sequence[np.ndarray]) -> slice:
  """The rows that any mask bool[H, W] uses, and one at each end that none does.

  Boundaries of what is cut out there are those of the frame.
  """
  width = masks[0].shape[-1]
  firsts, lasts = [], []
  for mask in masks:
    pixels = mask.tobytes()
    if (first := pixels.find(1)) >= 0:
      firsts.append(first // width)
      lasts.append(pixels.rfind(1) // width)
  if not firsts:
    return slice(0, 0)
  return slice(max(min(firsts) - 1, 0), max(lasts) + 2)


def pack(masks: Sequence[np.ndarray], min_rows: int = 1) -> np.ndarray:
  """N masks bool[H, W] -> uint8[N, rows of a band, W].

  Args:
    masks: of one shape.
    min_rows: that a band has, though eight of fewer would hold the frame.
  """
  height, width = masks[0].shape
  # Whole words, to be shifted and counted.
  unit = 8 // math.gcd(width, 8)
  rows = _round_up(max(-(-height // _BANDS), min_rows), unit)
  out = np.zeros((len(masks), rows * width), np.uint8)
  words = out.view(np.uint64)
  for start in reversed(range(0, height, rows)):
    words <<= np.uint64(1)
    for row, mask in zip(out, masks):
      part = mask[start : start + rows].reshape(-1)
      row[: len(part)] |= part.view(np.uint8)
  return out.reshape(len(masks), rows, width)


def count(packed: np.ndarray) -> np.ndarray:
  """Number of pixels of uint8[..., rows, columns], as int64[...]."""
  words = packed.reshape(*packed.shape[:-2], -1).view(np.uint64)
  return np.bitwise_count(words).sum(-1, dtype=np.int64)


def boundaries(packed: np.ndarray, height: int, margin: int) -> np.ndarray:
  """Pixels unlike their right, lower or lower-right neighbour.

  Neighbours outside the frame do not count, so a mask that covers the frame
  has no boundary.

  Args:
    packed: uint8[N, rows, W] from `pack`, of masks of one frame.
    height: H.
    margin: columns that are empty behind the last.

  Returns:
    uint8[N, rows, columns]: those columns that any of the masks uses.
  """
  used = np.flatnonzero(np.bitwise_or.reduce(packed, (0, 1)))
  packed = packed[..., max(used[0] - 1, 0) : used[-1] + 2]
  lower = np.empty_like(packed)
  lower[:, :-1] = packed[:, 1:]
  lower[:, -1] = packed[:, 0] >> 1
  # Outside the frame is what is inside beside it.
  band, row = divmod(height - 1, packed.shape[1])
  lower[:, row] |= packed[:, row] & (1 << band)
  some, all_ = packed | lower, packed & lower
  width = packed.shape[-1]
  out = np.zeros((*packed.shape[:2], _round_up(width + margin, 8)), np.uint8)
  inner = out[..., : width - 1]
  np.bitwise_or(some[..., :-1], some[..., 1:], out=inner)
  inner ^= all_[..., :-1] & all_[..., 1:]
  np.bitwise_xor(some[..., -1], all_[..., -1], out=out[..., width - 1])
  return out


def dilate(packed: np.ndarray, radius: int) -> np.ndarray:
  """Dilates by the disk dx^2 + dy^2 <= radius^2.

  The disk is a stack of horizontal runs. From its top row to its middle they
  become longer, so each is made of the last.

  Args:
    packed: uint8[N, rows, columns], with rows >= radius, and radius columns
      that are empty behind the last.
    radius: in pixels.

  Returns:
    uint8[N, rows, columns]; in the empty columns there may be anything.
  """
  num, rows, columns = packed.shape
  size = rows * columns
  # A run begins at its first pixel and is read at its middle, in rows as one
  # string of bytes: what is behind a row's end reaches no pixel of the next.
  runs = np.zeros((num, size + radius * (2 * columns + 1)), np.uint8)
  inner = runs[:, : size + 2 * radius * columns].reshape(num, -1, columns)
  inner[:, radius : radius + rows] = packed
  if radius:
    # Where a band meets the one above and the one below.
    np.left_shift(packed[:, rows - radius :], 1, out=inner[:, :radius])
    np.right_shift(packed[:, :radius], 1, out=inner[:, radius + rows :])
  longer = np.empty_like(runs)
  out = np.zeros((num, size), np.uint8)
  length = 1
  for dy in range(radius, -1, -1):
    half = math.isqrt(radius * radius - dy * dy)
    while length < 2 * half + 1:
      step = min(length, 2 * half + 1 - length)
      longer[:, :step] = runs[:, :step]
      np.bitwise_or(runs[:, step:], runs[:, :-step], out=longer[:, step:])
      runs, longer = longer, runs
      length += step
    for row in {radius - dy, radius + dy}:
      start = row * columns + half
      out |= runs[:, start : start + size]
  return out.reshape(packed.shape)


def _round_up(number: int, unit: int) -> int:
  return -(-number // unit) * unit
