"""Frames of a video file by exact index.

Seeking lands on a key frame by its time stamp, which in cut or re-encoded
clips is not the frame that a count from the start gives. So a file is decoded
from its start up to the highest index asked for; each thread leaves its last
file open, and goes on from there when later frames of it are asked for next.

Frames have the stored size, as the masks of data sets do: pixels that are not
square stay so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import video_decoder

_thread = threading.local()


def probe(path: str | os.PathLike, what: str) -> tuple[int, int, int]:
  """(number of frames, height, width) of a video file, upright.

  Decodes the first frame. The number is that of the frames a decoder shows: a
  header also counts those that were cut off at the start and are kept for
  decoding only.

  Raises:
    UserError: no such file, or no readable video.
  """
  try:
    num_frames = video_decoder.count_frames(path)
    first = next(video_decoder.decode(path, threads=1), None)
  except UserError as e:
    raise UserError(f"{what}: {e}") from e
  if not num_frames or first is None:
    raise UserError(f"{what}: {path} has no frames")
  return num_frames, *first.to_rgb().shape[:2]


def read(
  path: str | os.PathLike, indices: Sequence[int], what: str
) -> np.ndarray:
  """uint8[N, H, W, 3], RGB: the frames with these indices, in this order.

  Args:
    indices: N >= 1 indices from 0, in any order, repeated or not.

  Raises:
    UserError: no such file, damaged, or fewer frames than asked for.
  """
  indices = [int(index) for index in indices]
  if min(indices) < 0:
    raise UserError(f"{what}: frame {min(indices)}, expected 0 or more")
  try:
    decoder = _decoder(path, min(indices))
    decoded = {index: decoder.frame(index) for index in sorted(set(indices))}
  except (OSError, UserError) as e:
    _forget()
    reason = e if isinstance(e, UserError) else f"video {path}: {e.strerror}"
    raise UserError(f"{what}: {reason}") from e
  shapes = {frame.shape for frame in decoded.values()}
  if len(shapes) > 1:
    raise UserError(f"{what}: {path} has frames of several sizes {shapes}")
  return np.stack([decoded[index] for index in indices])


class _Decoder:
  """Forward decoder of one file that keeps the last frame asked for."""

  def __init__(self, path: str | os.PathLike):
    self._path = path
    # Clips are small and whoever reads many reads them in many threads. A
    # damaged packet is an error here: the frames after it would be miscounted.
    self._frames = video_decoder.decode(path, "error", threads=1)
    self.position = -1
    self._last: np.ndarray | None = None

  def frame(self, index: int) -> np.ndarray:
    """uint8[H, W, 3], RGB, at `index` >= `position`."""
    if index > self.position:
      while index > self.position:
        decoded = next(self._frames, None)
        if decoded is None:
          raise UserError(
            f"video {self._path}: it has {self.position + 1} frames, no frame "
            f"{index} from 0"
          )
        self.position += 1
      self._last = decoded.to_rgb()
    return self._last

  def close(self) -> None:
    self._frames.close()


def _decoder(path: str | os.PathLike, first: int) -> _Decoder:
  """This thread's decoder of the file, not beyond frame `first`."""
  state = os.stat(path)
  # A file that was replaced is another one; so is one opened before a fork,
  # since parent and child would move one file position.
  key = (os.fspath(path), state.st_mtime_ns, state.st_size, os.getpid())
  open_key, decoder = getattr(_thread, "decoder", (None, None))
  if open_key != key or first < decoder.position:
    _forget()
    decoder = _Decoder(path)
    _thread.decoder = key, decoder
  return decoder


def _forget() -> None:
  """Closes this thread's decoder, if any."""
  if hasattr(_thread, "decoder"):
    _thread.decoder[1].close()
    del _thread.decoder
