"""Iterable of a video's frames, the same for all sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

# For sources that carry no frame rate of their own.
DEFAULT_FPS: Final = 10.0

Frame = np.ndarray  # uint8[H, W, 3], RGB


class TimedFrame(NamedTuple):
  """A frame and its place in the source.

  Attributes:
    pixels: uint8[H, W, 3], RGB.
    time: seconds since the first frame.
    number: index in the source, which counts frames that are skipped.
  """

  pixels: Frame
  time: float
  number: int


@dataclasses.dataclass(frozen=True)
class VideoReader:
  """A video as an iterable of uint8[H, W, 3] RGB frames.

  Attributes:
    name: what messages and result files call it.
    height: rows of a frame, in pixels, after any rotation.
    width: columns of a frame.
    fps: frames per second, on the average.
    num_frames: number of frames as far as known: exact for folders and
      arrays, as the header says for video files, None for iterators.
    rereadable: True if it can be iterated more than once.
    open_frames: starts at the first frame.
    names: file stems of the frames of an image folder, else None.
    pixel_aspect: width of a pixel over its height. Frames and masks have the
      stored size; the model and pictures of results see it stretched.
    skipped: numbers of the damaged frames that the last iteration left out.
  """

  name: str
  height: int
  width: int
  fps: float
  num_frames: int | None
  rereadable: bool
  open_frames: Callable[[], Iterator[TimedFrame]] = dataclasses.field(
    repr=False
  )
  names: tuple[str, ...] | None = dataclasses.field(default=None, repr=False)
  pixel_aspect: float = 1.0
  skipped: list[int] = dataclasses.field(default_factory=list, repr=False)

  def __iter__(self) -> Iterator[Frame]:
    return (frame.pixels for frame in self.timed())

  def timed(self) -> Iterator[TimedFrame]:
    """Iterate over frames with their times and numbers."""
    self.skipped.clear()
    return self.open_frames()

  def at_rate(self, fps: float) -> VideoReader:
    """The same frames at another rate, a constant one."""

    def open_frames():
      for frame in self.open_frames():
        yield frame._replace(time=frame.number / fps)

    return dataclasses.replace(self, fps=fps, open_frames=open_frames)

  @property
  def shown_size(self) -> tuple[int, int]:
    """(height, width) of a frame whose pixels are stretched to squares."""
    return self.height, max(1, round(self.width * self.pixel_aspect))

  def frame_name(self, number: int) -> str:
    """Name of a frame in result files."""
    return self.names[number] if self.names else f"{number:05d}"


def evenly_timed(frames: Iterable[Frame], fps: float) -> Iterator[TimedFrame]:
  """Number frames that come at a constant rate."""
  for number, pixels in enumerate(frames):
    yield TimedFrame(pixels, number / fps, number)
