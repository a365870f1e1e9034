"""COCO run-length codes of masks, {"size": [H, W], "counts": str or list}.

Runs are alternately of 0 and 1, down the columns. pycocotools leaves memory
uninitialised where they end early, so codes are checked and decoded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

# Of a mask: no image is larger, see `still_image`.
MAX_PIXELS: Final = 2**27
# A symbol holds 5 bits: more of them would not fit into 32 bits.
_MAX_SYMBOLS: Final = 7


class Malformed(ValueError):
  """Not a code, or none of a mask of that size.

  Attributes:
    kind: "shape": no object with size and counts; "size": another one than
      expected; "runs": they do not fill the mask.
  """

  def __init__(self, kind: Literal["shape", "size", "runs"], message: str):
    super().__init__(message)
    self.kind = kind


def check_size(value: Any, size: tuple[int, int] | None) -> None:
  """Checks all of a code but its runs.

  Args:
    value: of a JSON file; `counts` may also be bytes.
    size: (height, width) it must have; None if that is not known.

  Raises:
    Malformed: with the reason.
  """
  if (
    not isinstance(value, Mapping)
    or not isinstance(value.get("counts"), str | bytes | list)
    or not isinstance(value.get("size"), list | tuple)
    or [type(side) for side in value["size"]] != [int, int]
  ):
    raise Malformed("shape", 'expected {"size": [H, W], "counts": ...}')
  height, width = value["size"]
  if size is not None and (height, width) != tuple(size):
    raise Malformed(
      "size",
      f"a mask of {height}x{width} pixels, expected {size[0]}x{size[1]} as the "
      "frame",
    )
  if min(height, width) < 1 or height * width > MAX_PIXELS:
    raise Malformed(
      "size",
      f"a mask of {height}x{width} pixels, expected 1 to {MAX_PIXELS:,}",
    )


def runs(value: Any, size: tuple[int, int] | None = None) -> np.ndarray:
  """int64[N] lengths of a code's runs, which fill the mask.

  Raises:
    Malformed: as `check_size`; other bytes, a code that stops within a
      number, or runs that do not fill the mask.
  """
  check_size(value, size)
  counts = value["counts"]
  lengths = _listed(counts) if isinstance(counts, list) else _unpacked(counts)
  height, width = value["size"]
  if (lengths < 0).any():
    raise Malformed("runs", "runs of negative length")
  if lengths.sum() != height * width:
    raise Malformed(
      "runs", f"runs of {lengths.sum()} pixels, expected {height * width}"
    )
  return lengths


def decode(value: Any, size: tuple[int, int] | None = None) -> np.ndarray:
  """bool[H, W]; errors as `runs`."""
  lengths = runs(value, size)
  height, width = value["size"]
  pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
  return np.ascontiguousarray(pixels.reshape(width, height).T)


def _listed(counts: list) -> np.ndarray:
  if not all(type(n) is int and abs(n) <= MAX_PIXELS for n in counts):
    raise Malformed("runs", "runs that are no numbers of pixels")
  return np.array(counts, np.int64)


def _unpacked(counts: str | bytes) -> np.ndarray:
  """Runs of a compressed code.

  It holds 5 bits in a byte above 48, the sixth says that more follow; from
  the fourth run on, it is the difference to the last but one.
  """
  if isinstance(counts, str):
    # What is not ASCII becomes bytes that no code has.
    counts = counts.encode("utf-8", "surrogatepass")
  symbols = np.frombuffer(counts, np.uint8).astype(int) - 48
  last = symbols & 32 == 0
  if not len(symbols) or symbols.min() < 0 or symbols.max() > 63:
    raise Malformed("runs", "not a run-length code")
  if not last[-1]:
    raise Malformed("runs", "a run-length code cut short")
  first = np.flatnonzero(np.append(True, last[:-1]))
  place = np.arange(len(symbols)) - np.repeat(
    first, np.diff(np.append(first, len(symbols)))
  )
  if place.max() >= _MAX_SYMBOLS:
    raise Malformed("runs", "runs of more than 32 bits")
  numbers = np.add.reduceat((symbols & 31) << 5 * place, first)
  # The highest bit of the last symbol is the sign.
  negative = symbols[last] & 16 != 0
  numbers = numbers - (negative.astype(int) << 5 * (place[last] + 1))
  numbers[1::2] = numbers[1::2].cumsum()
  numbers[2::2] = numbers[2::2].cumsum()
  return numbers
