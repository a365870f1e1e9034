"""Masks with 64 pixels a word: boundaries, dilation and counts on the host.

A row of the mask is a row of words, the first pixel in the lowest bit, with
at least `margin` empty bits behind it, so that shifting the words as one long
string of bits moves pixels to their neighbours without reaching another row.
"""

from __future__ import annotations

import math

import numpy as np

_ONE, _TOP = np.uint64(1), np.uint64(63)


def pack(masks: np.ndarray, margin: int) -> np.ndarray:
  """bool[..., H, W] -> uint64[..., H, words]."""
  words = -(-(masks.shape[-1] + margin) // 64)
  packed = np.packbits(masks, axis=-1, bitorder="little")
  out = np.zeros((*masks.shape[:-1], 8 * words), np.uint8)
  out[..., : packed.shape[-1]] = packed
  return out.view("<u8")


def count(masks: np.ndarray) -> np.ndarray:
  """Number of pixels of uint64[..., H, words], as int64[...]."""
  return np.bitwise_count(masks).sum((-2, -1), dtype=np.int64)


def boundaries(masks: np.ndarray, width: int) -> np.ndarray:
  """Pixels unlike their right, lower or lower-right neighbour.

  Neighbours outside the frame do not count, so a mask that covers the frame
  has no boundary.

  Args:
    masks: uint64[..., H, words] from `pack` with a margin of at least 1.
    width: W, columns of the frame.

  Returns:
    uint64[..., H, words].
  """
  right = masks >> _ONE
  right.reshape(-1)[:-1] |= masks.reshape(-1)[1:] << _TOP
  has_right = pack(np.arange(masks.shape[-1] * 64)[None] < width - 1, 0)
  edges = masks ^ right
  edges[..., :-1, :] |= masks[..., :-1, :] ^ right[..., 1:, :]
  edges &= has_right
  edges[..., :-1, :] |= masks[..., :-1, :] ^ masks[..., 1:, :]
  return edges


def crop(masks: np.ndarray, margin: int) -> np.ndarray:
  """The rows and words that any of the masks uses, and an empty margin.

  Args:
    masks: uint64[N, H, words].
    margin: bits that stay empty behind every row, at most 64.

  Returns:
    uint64[N, h, w]; no rows where all masks are empty.
  """
  union = np.bitwise_or.reduce(masks, axis=0)
  rows, columns = (np.flatnonzero(union.any(axis)) for axis in (1, 0))
  if not len(rows):
    return masks[:, :0]
  used = masks[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  return np.pad(used, ((0, 0), (0, 0), (0, -(-margin // 64))))


def dilate(masks: np.ndarray, radius: int) -> np.ndarray:
  """Dilates by the disk dx^2 + dy^2 <= radius^2.

  The disk is a stack of horizontal runs. From its top row to its middle they
  become longer, so each is grown from the last.

  Args:
    masks: uint64[N, H, words] with a margin of at least `radius` empty bits.
    radius: in pixels.

  Returns:
    uint64[N, H, words]; what leaves the words is lost, and bits of the margin
    may be set.
  """
  height = masks.shape[1]
  grown = masks.copy()
  bits = grown.reshape(-1)
  left, right = np.empty_like(bits), np.empty_like(bits)
  out = np.zeros_like(grown)
  half = 0
  for dy in range(radius, -1, -1):
    while half < math.isqrt(radius * radius - dy * dy):
      np.left_shift(bits, _ONE, out=left)
      left[1:] |= bits[:-1] >> _TOP
      np.right_shift(bits, _ONE, out=right)
      right[:-1] |= bits[1:] << _TOP
      bits |= left
      bits |= right
      half += 1
    if dy < height:
      out[:, dy:] |= grown[:, : height - dy]
      out[:, : height - dy] |= grown[:, dy:]
  return out
