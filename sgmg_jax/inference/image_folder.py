"""Still images as a video: one image, or a folder of them."""

from __future__ import annotations

import pathlib
import re
from typing import Final

import numpy as np
import PIL.Image
import PIL.ImageOps

from sgmg_jax import errors
from sgmg_jax.inference import video_reader

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

# Formats of cameras, which turn pictures by a tag. (Asking a PNG for its tags
# would decode it.)
_CAMERA_FORMATS: Final = ("JPEG", "MPO")
_EXIF_ORIENTATION: Final = 0x0112
_EXIF_SIDEWAYS: Final = (5, 6, 7, 8)


def open_folder(
  folder: pathlib.Path, fps: float | None
) -> video_reader.VideoReader:
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
  return open_images(folder.resolve().name, paths, fps)


def _natural_key(name: str) -> tuple:
  """Sorts frame2 before frame10."""
  parts = re.split(r"(\d+)", name)
  return tuple(
    (0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts
  )


def open_images(
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
  try:
    with PIL.Image.open(path) as image:
      width, height = image.size
      sideways = (
        image.format in _CAMERA_FORMATS
        and image.getexif().get(_EXIF_ORIENTATION) in _EXIF_SIDEWAYS
      )
  except (OSError, ValueError, SyntaxError) as error:
    raise errors.UserError(f"image {path}: cannot be read") from error
  return (width, height) if sideways else (height, width)


def _read_image(path: pathlib.Path) -> video_reader.Frame:
  try:
    with PIL.Image.open(path) as image:
      if image.format in _CAMERA_FORMATS:
        image = PIL.ImageOps.exif_transpose(image)
      return np.asarray(image.convert("RGB"))
  except (OSError, ValueError, SyntaxError) as error:
    raise errors.UserError(f"image {path}: it is damaged") from error
