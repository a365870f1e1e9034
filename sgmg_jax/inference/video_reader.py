"""A video as an iterable of frames, wherever they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

# For sources that carry no frame rate of their own.
DEFAULT_FPS: Final = 10.0

Frame = np.ndarray  # uint8[H, W, 3], RGB


@dataclasses.dataclass(frozen=True)
class VideoReader:
  """A video as an iterable of uint8[H, W, 3] RGB frames.

  Attributes:
    name: what messages and result files call it.
    height: rows of a frame, in pixels, after any rotation.
    width: columns of a frame.
    fps: frames per second.
    num_frames: number of frames as far as known: exact for folders and
      arrays, as the header says for video files, None for iterators.
    rereadable: True if it can be iterated more than once.
    names: file stems of the frames of an image folder, else None.
  """

  name: str
  height: int
  width: int
  fps: float
  num_frames: int | None
  rereadable: bool
  open_frames: Callable[[], Iterator[Frame]] = dataclasses.field(repr=False)
  names: tuple[str, ...] | None = dataclasses.field(default=None, repr=False)

  def __iter__(self) -> Iterator[Frame]:
    return self.open_frames()

  def frame_name(self, index: int) -> str:
    """Name of frame `index` in result files."""
    return self.names[index] if self.names else f"{index:05d}"
