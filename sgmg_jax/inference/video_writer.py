"""Writes frames to an mp4 that plays everywhere, through PyAV."""

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
# Encoder options for visually clean overlays at moderate size.
_OPTIONS: Final = {
  "libx264": {"crf": "20", "preset": "veryfast"},
  "libopenh264": {},
  "mpeg4": {"qscale": "3"},
}


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
  """

  def __init__(self, path: str | os.PathLike, fps: float):
    self.path = pathlib.Path(path)
    self.encoder = pick_encoder()
    self._fps = fractions.Fraction(fps).limit_denominator(1001)
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

  def write(self, frame: np.ndarray) -> None:
    """Appends one frame; all have the size of the first."""
    if self._stream is None:
      self._start(frame)
    if frame.shape != self._shape:
      raise ValueError(f"{frame.shape=}, expected {self._shape}")
    height, width, _ = frame.shape
    frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
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

  def _start(self, frame: np.ndarray) -> None:
    height, width, _ = frame.shape
    self._shape = frame.shape
    self._stream = self._container.add_stream(
      self.encoder, rate=self._fps, options=_OPTIONS[self.encoder]
    )
    self._stream.height = height + height % 2
    self._stream.width = width + width % 2
    self._stream.pix_fmt = "yuv420p"
