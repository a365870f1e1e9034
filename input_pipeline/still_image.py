"""Decode still images: JPEG, PNG, WebP and BMP, as viewers show them.

Images are turned upright by their EXIF orientation, transparent ones are
composed on white (`BACKGROUND`), 16-bit grey is scaled to 8 bits. Inference
and data sets decode through this file alone, so that a model sees in use what
it saw in training. It needs no TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
import PIL.Image

# Any other format is refused: Pillow reads some by running programs.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
# Above it Pillow suspects a decompression bomb.
MAX_PIXELS: Final = 89_478_485
# Under transparent pixels, whose own colour nobody was meant to see.
BACKGROUND: Final = (255, 255, 255)
# Of an animation's frame that names none, in seconds, as in browsers.
DEFAULT_DURATION: Final = 0.1

# It is an error here, in one line of our own.
warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning, append=True)

_ORIENTATION: Final = 0x0112
_Transpose = PIL.Image.Transpose
# How to turn an image upright, by EXIF orientation.
_TURNS: Final = {
  2: _Transpose.FLIP_LEFT_RIGHT,
  3: _Transpose.ROTATE_180,
  4: _Transpose.FLIP_TOP_BOTTOM,
  5: _Transpose.TRANSPOSE,
  6: _Transpose.ROTATE_270,
  7: _Transpose.TRANSVERSE,
  8: _Transpose.ROTATE_90,
}
_SIDEWAYS: Final = (5, 6, 7, 8)


class Unreadable(Exception):
  """An image that is cut short, too large, or none at all: the reason."""


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator[PIL.Image.Image]:
  """Opens a seekable file, which stays open; pixels are not read.

  Whatever Pillow raises inside the context becomes an `Unreadable`.

  Raises:
    Unreadable: no image of `FORMATS`, damaged, or over `MAX_PIXELS`.
  """
  try:
    with PIL.Image.open(file, formats=FORMATS) as image:
      width, height = image.size
      if width * height > MAX_PIXELS:
        raise Unreadable(_too_large(f"{width}x{height} pixels"))
      yield image
  except Unreadable:
    raise
  except PIL.UnidentifiedImageError as e:
    if not file.seek(0, io.SEEK_END):
      raise Unreadable("the file is empty") from e
    raise Unreadable("not a JPEG, PNG, WebP or BMP image") from e
  except (
    PIL.Image.DecompressionBombError,
    PIL.Image.DecompressionBombWarning,
  ) as e:
    number = re.search(r"\d+", str(e))
    raise Unreadable(_too_large(f"{int(number[0]):,} pixels")) from e
  # Damaged bytes make Pillow raise many other types.
  except Exception as e:
    raise Unreadable(f"damaged ({str(e) or type(e).__name__})") from e


def orientation(image: PIL.Image.Image) -> int:
  """EXIF orientation, 1..8; 1 (upright) if there is none."""
  # Behind the pixels of a PNG, Pillow finds it only by decoding them.
  if image.format == "PNG" and _has_late_exif(image):
    image.load()
  try:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in _TURNS else 1
  except Exception:  # Damaged tags do not make an image unreadable.
    return 1


def size(image: PIL.Image.Image) -> tuple[int, int]:
  """(height, width) once upright."""
  width, height = image.size
  sideways = orientation(image) in _SIDEWAYS
  return (width, height) if sideways else (height, width)


def num_frames(image: PIL.Image.Image) -> int:
  """Frames of an animated GIF, PNG or WebP; 1 of a still image.

  The second picture of a camera's JPEG is no frame.
  """
  if image.format not in ("GIF", "PNG", "WEBP"):
    return 1
  return getattr(image, "n_frames", 1) - _first_frame(image)


def check_depth(image: PIL.Image.Image) -> None:
  """Checks that the grey levels can be scaled to 8 bits.

  Raises:
    Unreadable: more than 16 bits a channel.
  """
  if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
    raise Unreadable(f"mode {image.mode}, expected 8 or 16 bits a channel")


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
  """Decodes the current frame: RGB, 8 bits, opaque, upright.

  Raises:
    Unreadable: as `check_depth`.
  """
  image.load()
  return _upright(_opaque(image), orientation(image))


def frames(
  image: PIL.Image.Image,
) -> Iterator[tuple[PIL.Image.Image, float]]:
  """Frames of an animation, as `to_rgb`, and the seconds each is shown.

  Raises:
    Unreadable: as `check_depth`. Within `opened`, also for fewer frames than
      promised.
  """
  how = orientation(image)
  for index in range(num_frames(image)):
    image.seek(_first_frame(image) + index)
    image.load()
    duration = image.info.get("duration", 0) / 1000
    yield _upright(_opaque(image), how), duration or DEFAULT_DURATION


def decode(data: bytes) -> PIL.Image.Image:
  """RGB image of a file's content; see `to_rgb`.

  Raises:
    Unreadable: as `opened` and `to_rgb`; or an animation.
  """
  with opened(io.BytesIO(data)) as image:
    check_still(image)
    return to_rgb(image)


def check_still(image: PIL.Image.Image) -> None:
  """Raises `Unreadable` for an animation: which frame was meant?"""
  if num_frames(image) > 1:
    raise Unreadable(
      f"an animation of {num_frames(image)} frames, expected a still image"
    )


def read_size(file: BinaryIO) -> tuple[int, int]:
  """(height, width) of a still image once upright; reads no pixels.

  Raises:
    Unreadable: as `opened`; or an animation.
  """
  with opened(file) as image:
    check_still(image)
    return size(image)


def _opaque(image: PIL.Image.Image) -> PIL.Image.Image:
  """A loaded image as RGB; the image itself if it already is."""
  check_depth(image)
  # Each step copies, and most images need none.
  if image.mode.startswith("I"):
    image = _from_16_bits(image)
  if image.has_transparency_data:
    image = image.convert("RGBA")
    background = PIL.Image.new("RGBA", image.size, BACKGROUND)
    image = PIL.Image.alpha_composite(background, image)
  return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image: PIL.Image.Image, how: int) -> PIL.Image.Image:
  return image.transpose(_TURNS[how]) if how in _TURNS else image


def _first_frame(image: PIL.Image.Image) -> int:
  """1 where a PNG shows another picture to who cannot show animations."""
  return int(bool(image.info.get("default_image")))


def _too_large(what: str) -> str:
  return f"{what}, more than the limit of {MAX_PIXELS:,}"


def _from_16_bits(image: PIL.Image.Image) -> PIL.Image.Image:
  """Grey of 8 bits, rounded; with alpha if a level means transparent."""
  levels = np.asarray(image).astype(np.uint32)
  grey = PIL.Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
  transparent = image.info.get("transparency")
  if transparent is not None:
    alpha = np.where(levels == transparent, 0, 255).astype(np.uint8)
    grey.putalpha(PIL.Image.fromarray(alpha))
  return grey


def _has_late_exif(image: PIL.Image.Image) -> bool:
  """Whether a PNG that was not decoded yet has tags behind its pixels."""
  file = image.fp
  if file is None or "exif" in image.info:
    return False
  before = file.tell()
  file.seek(8)
  try:
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
      if head[4:] == b"eXIf":
        return True
      file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    return False
  finally:
    file.seek(before)
