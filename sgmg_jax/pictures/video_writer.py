"""Write frames to an mp4 that plays everywhere, through PyAV."""

from __future__ import annotations

import fractions
import logging
import os
import pathlib
from typing import Final

import av
import numpy as np

from sgmg_jax import errors

# H.264 first, because browsers and phones play it; MPEG-4 Part 2 is in every
# FFmpeg build.
ENCODERS: Final = ("libx264", "libopenh264", "mpeg4")
# Encoder options for visually clean overlays at moderate size. B-frames are
# stored before their turn, and mp4 then measures the video's length wrongly
# unless frames come at a constant rate.
_OPTIONS: Final = {
  "libx264": {"crf": "20", "preset": "veryfast", "bf": "0"},
  "libopenh264": {},
  "mpeg4": {"qscale": "3"},
}
# MPEG-4 Part 2 counts at most so many ticks in a second; mp4 takes so many from
# one frame to the next, 4.5 hours.
_MAX_TICKS: Final = 65535
_MAX_STEP: Final = 2**30


def pick_encoder() -> str:
  """First of `ENCODERS` that this FFmpeg build has.

  Raises:
    UserError: it has none of them.
  """
  for name in ENCODERS:
    try:
      av.Codec(name, "w")
    except ValueError:  # UnknownCodecError
      continue
    if name == "mpeg4":
      logging.warning("no H.264 encoder in PyAV: overlays use MPEG-4 Part 2")
    return name
  raise errors.UserError(
    f"PyAV has no video encoder out of {', '.join(ENCODERS)}: "
    "reinstall it (pip install --force-reinstall av)"
  )


class VideoWriter:
  """Context manager that encodes uint8[H, W, 3] RGB frames to `path`.

  The file appears under its name only when the context ends without an
  exception; otherwise nothing is left behind. Odd sizes are padded to even
  ones by repeating the last row or column, as 4:2:0 video demands.

  Args:
    path: of the mp4.
    fps: frames per second, on the average where frames come with times.
  """

  def __init__(self, path: str | os.PathLike, fps: float):
    # Absolute: before a colon in a relative name FFmpeg reads a protocol.
    self.path = pathlib.Path(path).absolute()
    self.encoder = pick_encoder()
    # A file may announce any rate: one that encoders take.
    fps = min(max(fps, 0.001), 1000)
    denominator = min(1001, int(_MAX_TICKS / fps))
    self._fps = fractions.Fraction(fps).limit_denominator(denominator)
    # Divides a frame's duration: times of a constant rate are exact.
    ticks = (_MAX_TICKS // self._fps.numerator) * self._fps.numerator
    self._time_base = fractions.Fraction(1, ticks)
    self._last = -1  # tick of the last frame
    self._left_out = 0  # ticks of steps that were too long
    # The suffix stays last: FFmpeg picks the container by it.
    self._partial = self.path.with_name(f".partial-{self.path.name}")
    self._container = None
    self._stream = None
    self._shape = None

  def __enter__(self) -> VideoWriter:
    self._container = av.open(
      str(self._partial), "w", options={"movflags": "+faststart"}
    )
    return self

  def write(self, frame: np.ndarray, time: float | None = None) -> None:
    """Append one frame.

    Args:
      frame: uint8[H, W, 3], of the size of the first.
      time: seconds since the first frame; None: one frame's duration after
        the last.
    """
    if self._stream is None:
      self._start(frame)
    if frame.shape != self._shape:
      raise ValueError(f"{frame.shape=}, expected {self._shape}")
    height, width, _ = frame.shape
    frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    picture.time_base = self._time_base
    picture.pts = self._next_tick(time)
    self._container.mux(self._stream.encode(picture))

  def __exit__(self, kind, error, trace) -> None:
    try:
      if kind is None and self._stream is not None:
        self._container.mux(self._stream.encode(None))
      self._container.close()
      if kind is None:
        os.replace(self._partial, self.path)
    finally:
      self._partial.unlink(missing_ok=True)

  def _next_tick(self, time: float | None) -> int:
    """Later than the last one, whatever the times."""
    if time is not None:
      tick = round(time / self._time_base) - self._left_out
    elif self._last < 0:
      tick = 0
    else:
      tick = self._last + round(1 / (self._fps * self._time_base))
    excess = max(0, tick - self._last - _MAX_STEP)
    self._left_out += excess
    self._last = max(tick - excess, self._last + 1)
    return self._last

  def _start(self, frame: np.ndarray) -> None:
    height, width, _ = frame.shape
    self._shape = frame.shape
    self._stream = self._container.add_stream(
      self.encoder, rate=self._fps, options=_OPTIONS[self.encoder]
    )
    self._stream.height = height + height % 2
    self._stream.width = width + width % 2
    self._stream.pix_fmt = "yuv420p"
    self._stream.codec_context.time_base = self._time_base
