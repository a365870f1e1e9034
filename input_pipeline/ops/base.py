"""The interface of an op: a transform of one example, dict -> dict.

An example has these keys:
  frames      uint8[T, H, W, 3], RGB; or T Pillow images where the first op
              that touches them `takes_images`
  expressions E sentences
  masks       bool[E, K, H, W], ground truth of K of the frames
  annotated   int32[K], which of the T frames those are
  boxes       float32[E, K, 4], (x1, y1, x2, y2) pixels, x2 and y2 the last
              occupied column and row
  valid       bool[E, K], False where the object is not to be seen
  size        (H, W)
Others pass through. Ops change no array in place and may return views.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

Example = Mapping[str, Any]
Size = tuple[int, int]
Seed = tuple[int, ...]


class Op(abc.ABC):
  """A frozen dataclass whose fields are its settings.

  Random numbers come from the seed alone: the same example and seed give the
  same result.

  Attributes:
    touches_frames: whether it reads them.
    takes_images: whether they may also be Pillow images, as decoders give
      them: a resize works on those, and arrays in between cost two copies.
  """

  touches_frames: ClassVar[bool] = True
  takes_images: ClassVar[bool] = False

  @abc.abstractmethod
  def __call__(self, example: Example, seed: Seed) -> dict[str, Any]:
    """The transformed example; the given one stays as it is."""

  def output_size(self, size: Size, seed: Seed) -> Size:
    """(height, width) that the call with this seed would give."""
    del seed
    return size
