"""The colours of label maps."""

from __future__ import annotations

import numpy as np


def pascal_voc() -> list[int]:
  """The 256 colours of PASCAL VOC and DAVIS, [r, g, b, r, ...].

  Bits 3j, 3j + 1 and 3j + 2 of the index become bit 7 - j of red, green and
  blue.
  """
  index = np.arange(256)[:, None]
  rgb = np.zeros((256, 3), int)
  for j in range(3):
    rgb |= (index >> (3 * j + np.arange(3)) & 1) << (7 - j)
  return rgb.ravel().tolist()
