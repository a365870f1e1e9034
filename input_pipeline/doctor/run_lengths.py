"""Checks of COCO run-length codes, {"size": [H, W], "counts": str or list}.

pycocotools decodes a code that was cut short to garbage without a word, so the
runs are added up here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask

from sgmg_jax.input_pipeline.doctor import findings


class Malformed(Exception):
  """Not a code, or of another size; `code` is that of the finding."""

  def __init__(self, code: str, message: str):
    assert code in findings.CODES
    super().__init__(message)
    self.code = code


def check(value: Any, size: tuple[int, int] | None, *, whole: bool) -> bool:
  """Checks one code; returns whether it has a pixel.

  Args:
    size: (height, width) it must have; None if that is not known.
    whole: also check that its runs fill the picture; otherwise True is
      returned.

  Raises:
    Malformed: with the reason.
  """
  if (
    not isinstance(value, dict)
    or not isinstance(value.get("counts"), str | list)
    or not isinstance(value.get("size"), list)
    or [type(side) for side in value["size"]] != [int, int]
  ):
    raise Malformed("mask-shape", 'expected {"size": [H, W], "counts": ...}')
  height, width = value["size"]
  if size is not None and (height, width) != tuple(size):
    raise Malformed(
      "mask-size",
      f"size {[height, width]}, expected {list(size)} as the frame",
    )
  if not whole:
    return True
  counts = runs(value["counts"])
  if (counts < 0).any() or counts.sum() != height * width:
    raise Malformed(
      "mask-corrupt",
      f"runs of {counts.sum()} pixels, expected {height * width}",
    )
  return bool(counts[1::2].any())


def runs(counts: str | list[int]) -> np.ndarray:
  """int64[N] lengths of the runs, alternately of 0 and 1.

  A compressed code holds 5 bits in a byte above 48, the sixth says that more
  follow; from the fourth run on, it is the difference to the last but one.

  Raises:
    Malformed: other bytes, or it stops within a number.
  """
  if isinstance(counts, list):
    return np.asarray(counts, np.int64)
  # What is not ASCII becomes bytes that no code has.
  data = counts.encode("utf-8", "surrogatepass")
  symbols = np.frombuffer(data, np.uint8).astype(int) - 48
  last = symbols & 32 == 0
  if not len(symbols) or symbols.min() < 0 or symbols.max() > 63:
    raise Malformed("mask-corrupt", "not a run-length code")
  if not last[-1]:
    raise Malformed("mask-corrupt", "a run-length code cut short")
  first = np.flatnonzero(np.append(True, last[:-1]))
  place = np.arange(len(symbols)) - np.repeat(
    first, np.diff(np.append(first, len(symbols)))
  )
  numbers = np.add.reduceat((symbols & 31) << 5 * place, first)
  # The highest bit of the last symbol is the sign.
  negative = symbols[last] & 16 != 0
  numbers = numbers - (negative.astype(int) << 5 * (place[last] + 1))
  numbers[1::2] = numbers[1::2].cumsum()
  numbers[2::2] = numbers[2::2].cumsum()
  return numbers


def decode(value: dict[str, Any]) -> np.ndarray:
  """bool[H, W] of a code that passed `check`."""
  if isinstance(value["counts"], list):
    value = pycocotools.mask.frPyObjects(value, *value["size"])
  return pycocotools.mask.decode(value).astype(bool)
