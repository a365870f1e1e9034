"""COCO polygons of masks, [[x1, y1, x2, y2, …], …] in pixels.

pycocotools ends the process at coordinates that are not finite or too large,
so polygons are checked before they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco_mask

# Of a coordinate: no image is wider, and memory grows with the outline.
MAX_COORDINATE: Final = 2**15
EXPECTED: Final = (
  f"x and y of three points or more, at most {MAX_COORDINATE:,} pixels"
)


def is_polygon(value: Any) -> bool:
  """Whether a value of a JSON file can be drawn."""
  return (
    isinstance(value, list)
    and len(value) >= 6
    and len(value) % 2 == 0
    # NaN fails every comparison.
    and all(
      type(number) in (int, float) and abs(number) <= MAX_COORDINATE
      for number in value
    )
  )


def draw(
  polygons: Sequence[Sequence[float]], size: tuple[int, int]
) -> np.ndarray:
  """bool[H, W], the union of checked polygons as COCO's routine draws them."""
  if not len(polygons):
    return np.zeros(size, bool)
  rows = [np.asarray(polygon, np.float64) for polygon in polygons]
  runs = coco_mask.frPyObjects(rows, *size)
  return coco_mask.decode(coco_mask.merge(runs)).astype(bool)
