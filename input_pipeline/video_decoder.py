"""Frames of a video file, decoded by FFmpeg."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Iterator

import av
import numpy as np

from sgmg_jax import errors

Frame = np.ndarray  # uint8[H, W, 3], RGB


@dataclasses.dataclass(frozen=True)
class VideoFile:
  """A video file whose first frame could be decoded.

  Attributes:
    path: the file.
    height: rows of a frame, in pixels, after any rotation.
    width: columns of a frame.
    fps: frames per second; None if the file does not say.
    num_frames: as the header says; None if it does not.
  """

  path: pathlib.Path
  height: int
  width: int
  fps: float | None
  num_frames: int | None

  @classmethod
  def open(cls, path: pathlib.Path) -> VideoFile:
    """Reads the header and decodes the first frame.

    Raises:
      UserError: not a readable video, or no frames.
    """
    try:
      with av.open(str(path)) as container:
        if not container.streams.video:
          raise errors.UserError(f"video {path}: it has no video stream")
        stream = container.streams.video[0]
        num_frames = stream.frames or None
        rate = stream.average_rate or stream.guessed_rate
    except av.FFmpegError as error:
      raise errors.UserError(
        f"video {path}: not a readable video ({error.strerror})"
      ) from error
    first = next(_decode(path, None), None)
    if first is None:
      raise errors.UserError(f"video {path}: it has no frames")
    fps = float(rate) if rate else None
    return cls(path, *first.shape[:2], fps, num_frames)

  def frames(self) -> Iterator[Frame]:
    """Decodes from the start, in presentation order, upright.

    Raises:
      UserError: a frame cannot be decoded, or has another size.
    """
    return _decode(self.path, self.num_frames)


def _decode(path: pathlib.Path, promised: int | None) -> Iterator[Frame]:
  """Decodes in presentation order, upright; warns when frames are missing."""
  index = 0
  shape = None
  try:
    with av.open(str(path)) as container:
      stream = container.streams.video[0]
      stream.thread_type = "AUTO"
      for decoded in container.decode(stream):
        frame = _upright(decoded)
        if shape not in (None, frame.shape):
          raise errors.UserError(
            f"video {path}: the frame size changes at frame {index}"
          )
        shape = frame.shape
        yield frame
        index += 1
  except av.FFmpegError as error:
    raise errors.UserError(
      f"video {path}: damaged at frame {index} ({error.strerror})"
    ) from error
  if promised and index < promised:
    logging.warning(
      "video %s: the header promises %d frames, %d could be decoded",
      path,
      promised,
      index,
    )


def _upright(decoded: av.VideoFrame) -> Frame:
  """RGB pixels, turned as the file's display matrix says (phone videos)."""
  frame = decoded.to_ndarray(format="rgb24")
  # Counter-clockwise degrees; older PyAV does not report them.
  quarter_turns = round(getattr(decoded, "rotation", 0) / 90) % 4
  return np.ascontiguousarray(np.rot90(frame, quarter_turns))
