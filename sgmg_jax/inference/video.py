"""Frames from anywhere: video file, image folder, image, array or iterator.

Every source becomes a `VideoReader` that decodes while it is iterated, so
that no reader ever holds more than one decoded frame.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sgmg_jax import errors
from sgmg_jax.inference import image_folder
from sgmg_jax.inference.video_reader import DEFAULT_FPS, Frame, VideoReader
from sgmg_jax.input_pipeline import video_decoder


def open_video(source: Any, fps: float | None = None) -> VideoReader:
  """Opens a video without decoding more than its first frame.

  Args:
    source: path of a video (anything FFmpeg reads, gif included), of an image
      or of a folder of images; a uint8[T, H, W, 3] RGB array; an iterable of
      uint8[H, W, 3] RGB frames; or a `VideoReader`, returned as it is.
    fps: frames per second; None takes the file's own, or `DEFAULT_FPS`.

  Raises:
    UserError: nothing there, not readable, no frames, frames of several
      sizes, or an array of another type or shape. While iterating: a frame
      that cannot be decoded.
  """
  if fps is not None and not 0 < fps <= 1000:
    raise errors.UserError(f"fps {fps}: expected a number in (0, 1000]")
  if isinstance(source, VideoReader):
    return dataclasses.replace(source, fps=fps) if fps else source
  if isinstance(source, str | pathlib.Path):
    path = pathlib.Path(source).expanduser()
    if not path.exists():
      raise errors.UserError(f"video {path}: no such file or folder")
    if path.is_dir():
      return image_folder.open_folder(path, fps)
    if path.stat().st_size == 0:
      raise errors.UserError(f"video {path}: the file is empty")
    if path.suffix.lower() in image_folder.IMAGE_SUFFIXES:
      return image_folder.open_images(path.name, [path], fps)
    return _open_file(path, fps)
  if isinstance(source, np.ndarray):
    return _open_array(source, fps)
  if isinstance(source, Iterable):
    return _open_iterator(source, fps)
  raise errors.UserError(
    f"video of type {type(source).__name__}: expected a path, a "
    "uint8[T, H, W, 3] array or an iterable of frames"
  )


def _open_array(frames: np.ndarray, fps: float | None) -> VideoReader:
  if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
    raise errors.UserError(
      f"video array {frames.dtype}{list(frames.shape)}: "
      "expected uint8[T, H, W, 3], RGB"
    )
  if 0 in frames.shape:
    raise errors.UserError(f"video array {list(frames.shape)}: it is empty")
  num_frames, height, width, _ = frames.shape
  return VideoReader(
    name="array",
    height=height,
    width=width,
    fps=fps or DEFAULT_FPS,
    num_frames=num_frames,
    rereadable=True,
    open_frames=lambda: iter(frames),
  )


def _open_iterator(source: Iterable[Frame], fps: float | None) -> VideoReader:
  iterator = iter(source)
  first = next(iterator, None)
  if first is None:
    raise errors.UserError("video iterator: it has no frames")
  expected = np.shape(first)
  _check_frame(first, 0, expected)
  frames = itertools.chain([first], iterator)
  started = False

  def open_frames() -> Iterator[Frame]:
    nonlocal started
    if started:
      raise errors.UserError("video iterator: its frames were already read")
    started = True
    return _checked(frames, expected)

  return VideoReader(
    name="frames",
    height=expected[0],
    width=expected[1],
    fps=fps or DEFAULT_FPS,
    num_frames=None,
    rereadable=False,
    open_frames=open_frames,
  )


def _checked(frames: Iterable[Frame], expected: tuple) -> Iterator[Frame]:
  for index, frame in enumerate(frames):
    yield _check_frame(frame, index, expected)


def _check_frame(frame: Any, index: int, expected: tuple) -> Frame:
  is_frame = (
    isinstance(frame, np.ndarray)
    and frame.dtype == np.uint8
    and frame.ndim == 3
    and frame.shape[-1] == 3
    and 0 not in frame.shape
  )
  if not is_frame:
    got = (
      f"{frame.dtype}{list(frame.shape)}"
      if isinstance(frame, np.ndarray)
      else type(frame).__name__
    )
    raise errors.UserError(
      f"frame {index} of the video iterator is {got}: "
      "expected a uint8[H, W, 3] array, RGB"
    )
  if frame.shape != expected:
    raise errors.UserError(
      f"frame {index} of the video iterator is {list(frame.shape)}: "
      f"expected {list(expected)} like the first"
    )
  return frame


def _open_file(path: pathlib.Path, fps: float | None) -> VideoReader:
  file = video_decoder.VideoFile.open(path)
  return VideoReader(
    name=path.name,
    height=file.height,
    width=file.width,
    fps=fps or file.fps or DEFAULT_FPS,
    num_frames=file.num_frames,
    rereadable=True,
    open_frames=file.frames,
  )
