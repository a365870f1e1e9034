"""Open a video: a file, an image folder, an image, an array or an iterator.

Every source becomes a `VideoReader` that decodes while it is iterated, so
that no reader ever holds more than one decoded frame.
"""

from __future__ import annotations

import dataclasses
import itertools
import numbers
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import jax
import numpy as np
import PIL.Image

from sgmg_jax import errors
from sgmg_jax.inference import image_folder, video_file
from sgmg_jax.inference.video_reader import (
  DEFAULT_FPS,
  Frame,
  TimedFrame,
  VideoReader,
  evenly_timed,
)
from sgmg_jax.input_pipeline import still_image

# Of the overlay; beyond them no player keeps up.
MIN_FPS: Final = 0.001
MAX_FPS: Final = 1000


def open_video(
  source: Any,
  fps: float | None = None,
  on_error: Literal["skip", "error"] = "skip",
) -> VideoReader:
  """Open a video without decoding more than its first frame.

  Args:
    source: path of a video (anything FFmpeg reads, gif included), of an image
      or of a folder of images; a uint8[T, H, W, 3] RGB array of NumPy or JAX;
      a Pillow image; an iterable of Pillow images or uint8[H, W, 3] RGB arrays;
      or a `VideoReader`, returned as it is.
    fps: frames per second; None takes the file's own time stamps, or
      `DEFAULT_FPS`.
    on_error: what a damaged frame of a video file does: "skip" leaves it out,
      counts it (`VideoReader.skipped`) and warns, "error" raises.

  Raises:
    UserError: nothing there, not readable, no frames, frames of several
      sizes, or an array of another type or shape. While iterating: a frame
      that cannot be decoded.
  """
  if fps is not None and not (
    isinstance(fps, numbers.Real) and MIN_FPS <= fps <= MAX_FPS
  ):
    raise errors.UserError(
      f"fps {fps!r}: expected a number from {MIN_FPS} to {MAX_FPS}"
    )
  if on_error not in ("skip", "error"):
    raise errors.UserError(f"on_error {on_error!r}: expected skip or error")
  if isinstance(source, VideoReader):
    return source.at_rate(fps) if fps else source
  if isinstance(source, str | os.PathLike):
    return _open_path(source, fps, on_error)
  if isinstance(source, np.ndarray | jax.Array):
    return _open_array(np.asarray(source), fps)
  if isinstance(source, PIL.Image.Image):
    frame = _as_frame(source, 0)
    return dataclasses.replace(_open_array(frame[None], fps), name="image")
  if isinstance(source, Iterable):
    return _open_iterator(source, fps)
  raise errors.UserError(
    f"video of type {type(source).__name__}: expected a path, a "
    "uint8[T, H, W, 3] array, a Pillow image or an iterable of frames"
  )


def _open_path(source, fps: float | None, on_error: str) -> VideoReader:
  try:
    path = pathlib.Path(source).expanduser()
    status = path.stat()
  except FileNotFoundError as error:
    advice = "; standard input is not read" if str(source) == "-" else ""
    raise errors.UserError(
      f"video {source}: no such file or folder{advice}"
    ) from error
  except (OSError, ValueError, RuntimeError) as error:
    reason = getattr(error, "strerror", None) or error
    raise errors.UserError(f"video {_shortened(source)}: {reason}") from error
  if stat.S_ISDIR(status.st_mode):
    return image_folder.open_folder(path, fps)
  if not stat.S_ISREG(status.st_mode):
    raise errors.UserError(
      f"video {path}: a pipe or device, expected a file or folder (frames are "
      "read more than once: save the video to a file first)"
    )
  if status.st_size == 0:
    raise errors.UserError(f"video {path}: the file is empty")
  if path.suffix.lower() in image_folder.IMAGE_SUFFIXES:
    return image_folder.open_image(path, fps)
  reader = video_file.open_file(path, on_error)
  return reader.at_rate(fps) if fps else reader


def _shortened(path: Any) -> str:
  """A name that fits into a message."""
  name = os.fspath(path)
  return name if len(name) <= 200 else f"{name[:100]}…{name[-100:]}"


def _open_array(frames: np.ndarray, fps: float | None) -> VideoReader:
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
    raise errors.UserError(
      f"video array {frames.dtype}{list(frames.shape)}: "
      "expected uint8[T, H, W, 3], RGB"
    )
  if 0 in frames.shape:
    raise errors.UserError(f"video array {list(frames.shape)}: it is empty")
  num_frames, height, width, _ = frames.shape
  fps = fps or DEFAULT_FPS
  return VideoReader(
    name="array",
    height=height,
    width=width,
    fps=fps,
    num_frames=num_frames,
    rereadable=True,
    open_frames=lambda: evenly_timed(frames, fps),
  )


def _open_iterator(source: Iterable[Frame], fps: float | None) -> VideoReader:
  iterator = iter(source)
  first = next(iterator, None)
  if first is None:
    raise errors.UserError("video iterator: it has no frames")
  expected = _as_frame(first, 0).shape
  frames = itertools.chain([first], iterator)
  fps = fps or DEFAULT_FPS
  # A list can be read again, an iterator cannot.
  rereadable = isinstance(source, Sequence)
  started = False

  def open_frames() -> Iterator[TimedFrame]:
    nonlocal started
    if rereadable:
      return evenly_timed(_checked(source, expected), fps)
    if started:
      raise errors.UserError("video iterator: its frames were already read")
    started = True
    return evenly_timed(_checked(frames, expected), fps)

  return VideoReader(
    name="frames",
    height=expected[0],
    width=expected[1],
    fps=fps,
    num_frames=len(source) if rereadable else None,
    rereadable=rereadable,
    open_frames=open_frames,
  )


def _checked(frames: Iterable[Any], expected: tuple) -> Iterator[Frame]:
  for index, given in enumerate(frames):
    frame = _as_frame(given, index)
    if frame.shape != expected:
      raise errors.UserError(
        f"frame {index} of the video is {list(frame.shape)}: "
        f"expected {list(expected)} like the first"
      )
    yield frame


def _as_frame(given: Any, index: int) -> Frame:
  """A Pillow image or an array as uint8[H, W, 3]."""
  if isinstance(given, PIL.Image.Image):
    if (num_frames := still_image.num_frames(given)) > 1:
      raise errors.UserError(
        f"frame {index} of the video is an animation of {num_frames} frames: "
        "expected a still image, or the animation's path"
      )
    try:
      return np.asarray(still_image.to_rgb(given))
    except (still_image.Unreadable, OSError, SyntaxError, ValueError) as error:
      raise errors.UserError(f"frame {index} of the video: {error}") from error
  if not isinstance(given, np.ndarray | jax.Array):
    got = type(given).__name__
  elif given.dtype != np.uint8 or given.ndim != 3 or given.shape[-1] != 3:
    got = f"{given.dtype}{list(given.shape)}"
  elif 0 in given.shape:
    got = "empty"
  else:
    return np.asarray(given)
  raise errors.UserError(
    f"frame {index} of the video is {got}: "
    "expected a uint8[H, W, 3] array, RGB, or a Pillow image"
  )
