"""Still images as a video: one image, a folder of them, or an animation."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np

from sgmg_jax import errors
from sgmg_jax.files import regular_file
from sgmg_jax.inference import video_reader
from sgmg_jax.input_pipeline import still_image

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def open_image(
  path: pathlib.Path, fps: float | None
) -> video_reader.VideoReader:
  """Open one image; an animated WebP or PNG has all its frames.

  Args:
    fps: frames per second; None takes the times of an animation.

  Raises:
    UserError: it cannot be read, or an animation is damaged anywhere.
  """
  seconds = []
  with _opened(path) as file, still_image.opened(file) as image:
    if still_image.num_frames(image) > 1:
      height, width = still_image.size(image)
      # Nothing but decoding tells how long frames are shown.
      seconds = [shown for _, shown in still_image.frames(image)]
  if not seconds:
    return _open_images(path.name, [path], fps)
  reader = video_reader.VideoReader(
    name=path.name,
    height=height,
    width=width,
    fps=len(seconds) / sum(seconds),
    num_frames=len(seconds),
    rereadable=True,
    open_frames=lambda: _read_animation(path),
  )
  return reader.at_rate(fps) if fps else reader


def open_folder(
  folder: pathlib.Path, fps: float | None
) -> video_reader.VideoReader:
  """Open a folder of still images, frame2 before frame10.

  Args:
    folder: images of one size; other files and hidden ones are left out.
    fps: frames per second; None takes `DEFAULT_FPS`.

  Raises:
    UserError: no images; one that is an animation, cannot be read or has
      another size; or two of one name. While iterating: a damaged image.
  """
  paths = sorted(
    (
      path
      for path in folder.iterdir()
      if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."
    ),
    key=lambda path: _natural_key(path.name),
  )
  if not paths:
    raise errors.UserError(
      f"video folder {folder}: no images in it "
      f"({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)})"
    )
  return _open_images(folder.resolve().name, paths, fps)


def _natural_key(name: str) -> tuple:
  """Sort frame2 before frame10."""
  parts = re.split(r"(\d+)", name)
  # Every other part is a number; str.isdigit also takes "²", int does not.
  return tuple(
    (int(part), part) if place % 2 else (0, part)
    for place, part in enumerate(parts)
  )


def _open_images(
  name: str, paths: list[pathlib.Path], fps: float | None
) -> video_reader.VideoReader:
  stems = tuple(path.stem for path in paths)
  if len(set(stems)) < len(stems):
    twice = next(stem for stem in stems if stems.count(stem) > 1)
    raise errors.UserError(
      f"video folder {paths[0].parent}: two images are named {twice}"
    )
  # Headers only: a wrong folder is found before the first frame is segmented.
  sizes = [_image_size(path) for path in paths]
  for path, size in zip(paths, sizes):
    if size != sizes[0]:
      raise errors.UserError(
        f"image {path} is {size[1]}x{size[0]}: expected "
        f"{sizes[0][1]}x{sizes[0][0]} like {paths[0].name}"
      )
  fps = fps or video_reader.DEFAULT_FPS
  return video_reader.VideoReader(
    name=name,
    height=sizes[0][0],
    width=sizes[0][1],
    fps=fps,
    num_frames=len(paths),
    rereadable=True,
    open_frames=lambda: video_reader.evenly_timed(map(_read_image, paths), fps),
    names=stems,
  )


def _image_size(path: pathlib.Path) -> tuple[int, int]:
  with _opened(path) as file:
    return still_image.read_size(file)


def _read_image(path: pathlib.Path) -> video_reader.Frame:
  with _opened(path) as file:
    return np.asarray(still_image.decode(file.read()))


def _read_animation(path: pathlib.Path) -> Iterator[video_reader.TimedFrame]:
  time = 0.0
  with _opened(path) as file, still_image.opened(file) as image:
    for number, (frame, shown) in enumerate(still_image.frames(image)):
      yield video_reader.TimedFrame(np.asarray(frame), time, number)
      time += shown


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[BinaryIO]:
  """The file; what is wrong with it or with its image is one line."""
  try:
    with regular_file.open_binary(path) as file:
      yield file
  except (OSError, still_image.Unreadable) as e:
    reason = getattr(e, "strerror", None) or e
    raise errors.UserError(f"image {path}: {reason}") from e
