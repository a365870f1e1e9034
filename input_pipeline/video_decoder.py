"""Decoder of video files, through FFmpeg: inference and data sets share it.

Frames are those that players show: of the best video stream (attached pictures
are none), in presentation order, without what an edit list hides, turned and
mirrored by the display matrix. They have the stored size: pixels that are not
square are not stretched, `VideoFile.pixel_aspect` says so.
"""

from __future__ import annotations

import contextlib
import fractions
import heapq
import logging
import os
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import av
import numpy as np

from sgmg_jax import errors
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline.still_image import MAX_PIXELS

OnError = Literal["error", "skip"]

# Earlier ones read BT.709 as BT.601 and do not show the index of an mp4.
MIN_PYAV: Final = 17
# Wider or narrower pixels are damage.
_MAX_PIXEL_ASPECT: Final = 10.0
# Containers whose packets carry no times of presentation.
_UNTIMED: Final = ("avi",)


class Header(NamedTuple):
  """What a file says of its video.

  Attributes:
    fps: average number of frames per second; None if it does not say.
    num_frames: number of frames; None if it does not say.
    pixel_aspect: width of a stored pixel over its height.
  """

  fps: float | None
  num_frames: int | None
  pixel_aspect: float


class Orientation(NamedTuple):
  """What makes a stored frame upright: transposed first, then flipped."""

  transposed: bool
  flip_rows: bool
  flip_columns: bool


class DecodedFrame(NamedTuple):
  """A frame before the conversion to RGB, which takes longer than decoding.

  Attributes:
    time: seconds since the first frame.
    number: index in the file, which counts frames that cannot be decoded.
  """

  picture: av.VideoFrame
  orientation: Orientation
  time: float
  number: int

  def to_rgb(self) -> np.ndarray:
    """uint8[H, W, 3], upright.

    Raises:
      UserError: damage left a pixel format that has no conversion.
    """
    try:
      frame = self.picture.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, ValueError) as error:
      raise errors.UserError(
        f"frame {self.number}: its pixels ({self.picture.format.name}) cannot "
        f"be converted to RGB: {error}"
      ) from error
    if self.orientation.transposed:
      frame = frame.transpose(1, 0, 2)
    if self.orientation.flip_rows:
      frame = frame[::-1]
    if self.orientation.flip_columns:
      frame = frame[:, ::-1]
    return np.ascontiguousarray(frame)


def decode(
  path: str | os.PathLike,
  on_error: OnError = "error",
  skipped: list[int] | None = None,
  threads: int = 0,
) -> Iterator[DecodedFrame]:
  """Decodes a file from its start, without converting the frames.

  Args:
    on_error: what a damaged packet does: "skip" goes on with the next one,
      "error" raises.
    skipped: emptied, then takes the numbers of the frames of damaged packets.
    threads: that decode the slices of a frame; 0: as many as there are cores.

  Raises:
    UserError: not a readable video, or damaged.
  """
  skipped = [] if skipped is None else skipped
  skipped.clear()
  with _opened(path) as (container, stream):
    # Threads that decode one frame each report damage some packets later, or
    # not at all towards the end.
    stream.thread_type = "SLICE"
    stream.codec_context.thread_count = threads
    clock = _Clock(stream, container.format.name not in _UNTIMED)
    packets = container.demux(stream)
    while True:
      packet, pictures = None, []
      try:
        packet = next(packets, None)
        if packet is None:
          break
        pictures = packet.decode()
      except (av.FFmpegError, OSError) as error:
        if on_error == "error":
          raise errors.UserError(
            f"video {path}: damaged after {clock.number} frames "
            f"({error.strerror})"
          ) from error
        if packet is None:  # The file itself breaks off.
          packets = iter(())
          pictures = _flushed(stream)
        elif not packet.is_discard:
          skipped += clock.lose(packet.pts)
      for picture in pictures:
        skipped += clock.lost_before(picture.pts)
        orientation = _orientation(path, picture)
        yield DecodedFrame(picture, orientation, *clock.tick(picture.pts))
    skipped += clock.lost_before(None)


def read_header(path: str | os.PathLike) -> Header:
  """Opens a file without decoding; says so if it has several video streams.

  Raises:
    UserError: not a readable video.
  """
  with _opened(path) as (container, stream):
    if len(container.streams.video) > 1:
      logging.warning(
        "video %s: stream %d (%dx%d) is read, out of %d video streams",
        path,
        stream.index,
        stream.width,
        stream.height,
        len(container.streams.video),
      )
    rate = stream.average_rate or stream.guessed_rate
    return Header(
      fps=float(rate) if rate else None,
      num_frames=_indexed_frames(stream) or stream.frames or None,
      pixel_aspect=_checked_aspect(path, stream.sample_aspect_ratio),
    )


def count_frames(path: str | os.PathLike) -> int:
  """Number of frames that a decoder shows, without decoding.

  A header also counts those that were cut off at the start and are kept for
  decoding only.

  Raises:
    UserError: not a readable video.
  """
  with _opened(path) as (container, stream):
    counted = _indexed_frames(stream)
    if counted is not None:
      return counted
    try:
      return _num_shown(container.demux(stream))
    except (av.FFmpegError, OSError) as error:
      raise errors.UserError(
        f"video {path}: damaged ({error.strerror})"
      ) from error


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[tuple]:
  """The container and its best video stream.

  Raises:
    UserError: no file, not a readable video, or a PyAV that is too old.
  """
  version = int(av.__version__.split(".")[0])
  if version < MIN_PYAV:
    raise errors.UserError(
      f"PyAV {av.__version__} misreads videos: expected {MIN_PYAV} or later "
      f'(pip install "av>={MIN_PYAV}")'
    )
  try:
    regular_file.check(path)
    # FFmpeg takes what stands before a colon in a relative name for a protocol.
    container = av.open(
      os.path.abspath(path),
      # Damaged titles stop earlier versions.
      **({"metadata_errors": "ignore"} if version < 19 else {}),
    )
  except (av.FFmpegError, OSError) as error:
    raise errors.UserError(
      f"video {path}: not a readable video ({error.strerror})"
    ) from error
  with container:
    stream = _best_stream(path, container)
    if stream.width * stream.height > MAX_PIXELS:
      raise errors.UserError(
        f"video {path}: frames of {stream.width}x{stream.height}, expected at "
        f"most {MAX_PIXELS:,} pixels"
      )
    # A frame may be larger than the header says.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    yield container, stream


def _best_stream(path, container) -> av.VideoStream:
  """The one that FFmpeg picks, unless that is a cover picture."""
  pictures = av.stream.Disposition.attached_pic
  pictures |= av.stream.Disposition.timed_thumbnails
  streams = [
    stream
    for stream in container.streams.video
    if not stream.disposition & pictures
  ]
  if not streams:
    covers = ", only attached pictures" if container.streams.video else ""
    raise errors.UserError(f"video {path}: it has no video stream{covers}")
  best = container.streams.best("video")
  if best not in streams:
    best = max(streams, key=lambda stream: stream.width * stream.height)
  if best.codec_context is None:
    raise errors.UserError(f"video {path}: FFmpeg has no decoder for it")
  return best


def _indexed_frames(stream: av.VideoStream) -> int | None:
  """Frames that a decoder shows, if the file has a complete index (mp4)."""
  index = stream.index_entries
  if not stream.frames or len(index) != stream.frames:
    return None
  return _num_shown(index)


def _num_shown(units) -> int:
  """Of index entries or packets."""
  return sum(unit.size > 0 and not unit.is_discard for unit in units)


def _checked_aspect(path, aspect: fractions.Fraction | None) -> float:
  if not aspect:
    return 1.0
  if not 1 / _MAX_PIXEL_ASPECT <= aspect <= _MAX_PIXEL_ASPECT:
    logging.warning(
      "video %s: pixels %s times as wide as high are taken for square ones",
      path,
      aspect,
    )
    return 1.0
  return float(aspect)


def _orientation(path, picture: av.VideoFrame) -> Orientation:
  try:
    side_data = picture.side_data.get("DISPLAYMATRIX")
  except ValueError as error:  # a kind that PyAV does not know, such as EXIF
    if picture.rotation:
      raise errors.UserError(
        f"video {path}: metadata that cannot be read here turn it (re-encode "
        "it upright)"
      ) from error
    side_data = None
  if side_data is None:
    return Orientation(False, False, False)
  # It sends (x, y) to (a x + c y, b x + d y), up to a shift.
  a, b, _, c, d, *_ = np.frombuffer(side_data, np.int32).astype(float)
  straight, crossed = abs(a * d), abs(b * c)
  # Tolerates rounding; how axes are scaled is in the pixel aspect already.
  if min(straight, crossed) > 1e-3 * max(straight, crossed):
    raise errors.UserError(
      f"video {path}: its display matrix turns it by an odd angle, expected "
      "quarter turns (re-encode it upright)"
    )
  if crossed > straight:
    return Orientation(True, b < 0, c < 0)
  return Orientation(False, d < 0, a < 0)


def _flushed(stream: av.VideoStream) -> list[av.VideoFrame]:
  """Frames that wait in the decoder when the file breaks off."""
  try:
    return stream.codec_context.decode(None)
  except (av.FFmpegError, OSError):
    return []


class _Clock:
  """Times and numbers of frames that come in presentation order."""

  def __init__(self, stream: av.VideoStream, timed: bool):
    self.number = 0  # of the next frame
    self._unit = stream.time_base if timed else None
    rate = stream.average_rate or stream.guessed_rate
    self._step = 1 / float(rate) if rate else 0.1
    self._start: int | None = None  # time stamp or number of the first frame
    self._last = -1.0
    self._lost: list[int] = []  # heap of time stamps

  def lose(self, pts: int | None) -> list[int]:
    """Notes a frame that could not be decoded; its number if already known."""
    if pts is not None and self._unit:
      heapq.heappush(self._lost, pts)
      return []
    self.number += 1
    return [self.number - 1]

  def lost_before(self, pts: int | None) -> list[int]:
    """Numbers of the lost frames shown before `pts`; None: of all others."""
    first = self.number
    while self._lost and (pts is None or self._lost[0] < pts):
      heapq.heappop(self._lost)
      self.number += 1
    return list(range(first, self.number))

  def tick(self, pts: int | None) -> tuple[float, int]:
    """(seconds since the first frame that is shown, number) of a frame."""
    number, self.number = self.number, self.number + 1
    place, unit = (pts, self._unit) if self._unit else (number, self._step)
    if place is None:
      time = self._last + self._step
    else:
      self._start = place if self._start is None else self._start
      time = float((place - self._start) * unit)
    if time <= self._last:  # A time stamp that goes back.
      time = self._last + self._step
    self._last = time
    return time, number
