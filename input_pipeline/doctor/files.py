"""Reading single files that may be missing, cut short or of another form."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import PIL.Image

from sgmg_jax.input_pipeline.doctor import findings

# How a whole file ends. A JPEG may be followed by padding; inside its data
# the two bytes cannot occur.
_ENDS: Final = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL: Final = 4096
_ORIENTATION: Final = 0x0112


class Unreadable(Exception):
  """An image that is missing, empty, cut short or not an image."""


@dataclasses.dataclass(frozen=True)
class Image:
  """What was read of an image file.

  Attributes:
    size: (height, width), pixels.
    mode: Pillow's, such as "RGB" or "P".
    rotated: the EXIF orientation is not the upright one.
    digest: of the file's bytes; None if only its header was read.
    values: pixels of each grey level or palette index that occurs; None if
      the image has more than one channel or only its header was read.
  """

  size: tuple[int, int]
  mode: str
  rotated: bool
  digest: bytes | None = None
  values: dict[int, int] | None = None


def read_image(path: pathlib.Path, *, fast: bool, values: bool) -> Image:
  """Reads an image; with `fast` its header and its end only.

  Args:
    values: count the grey levels or palette indices. Otherwise a JPEG is
      decoded at an eighth of its size, which reads all of its data.

  Raises:
    Unreadable: with the reason.
  """
  try:
    if fast:
      return _read_ends(path)
    data = path.read_bytes()
    if not data:
      raise Unreadable("the file is empty")
    with PIL.Image.open(io.BytesIO(data)) as image:
      width, height = image.size
      mode, rotated = image.mode, _rotated(image)
      if not values:
        image.draft(None, (1, 1))
      image.load()
      counted = None
      if values and mode in ("P", "L"):
        counted = {i: n for i, n in enumerate(image.histogram()) if n}
  except FileNotFoundError as e:
    raise Unreadable("no such file") from e
  except (OSError, SyntaxError, ValueError) as e:
    raise Unreadable(_reason(e)) from e
  digest = hashlib.blake2b(data, digest_size=16).digest()
  return Image((height, width), mode, rotated, digest, counted)


def read_rgb(path: pathlib.Path) -> np.ndarray:
  """uint8[H, W, 3]."""
  with PIL.Image.open(path) as image:
    return np.asarray(image.convert("RGB"))


def read_json(
  path: pathlib.Path, log: findings.Findings, kind: type = dict
) -> Any:
  """The content of a JSON file; None, and a finding, if it is not one."""
  try:
    content = json.loads(path.read_bytes())
  except FileNotFoundError:
    log.add("file-missing", "no such file", file=path)
  except (OSError, ValueError, RecursionError) as e:
    log.add("malformed", f"not readable as JSON ({e})", file=path)
  else:
    if isinstance(content, kind):
      return content
    names = {dict: "an object", list: "a list"}
    log.add("malformed", f"expected {names[kind]}", file=path)
  return None


def are_records(value: Any, fields: Mapping[str, Any]) -> bool:
  """Whether a JSON value is a list of objects with these fields.

  Args:
    fields: type (or union of types) by name.
  """
  return isinstance(value, list) and all(
    isinstance(record, dict)
    and all(isinstance(record.get(name), kind) for name, kind in fields.items())
    for record in value
  )


def read_csv(path: pathlib.Path, log: findings.Findings) -> list[list[str]]:
  """Rows without blanks around fields; [], and a finding, if unreadable."""
  try:
    with path.open(encoding="utf-8", newline="") as file:
      rows = list(csv.reader(file, skipinitialspace=True))
  except FileNotFoundError:
    log.add("file-missing", "no such file", file=path)
    return []
  except (OSError, UnicodeDecodeError, csv.Error) as e:
    log.add("malformed", f"not readable as CSV ({e})", file=path)
    return []
  return [[field.strip() for field in row] for row in rows if any(row)]


def names_in(folder: pathlib.Path, suffix: str = "") -> list[str]:
  """Sorted names in a folder without suffix, hidden ones left out; [] if
  there is no such folder."""
  if not folder.is_dir():
    return []
  return sorted(
    path.name.removesuffix(suffix)
    for path in folder.iterdir()
    if path.name.endswith(suffix) and not path.name.startswith(".")
  )


def some(names, limit: int = 5) -> str:
  """The first few: "a, b, c and 7 more"."""
  names = [str(name) for name in names]
  rest = len(names) - limit
  shown = ", ".join(names[:limit])
  return f"{shown} and {rest} more" if rest > 0 else shown


def _read_ends(path: pathlib.Path) -> Image:
  with open(path, "rb") as file:
    with PIL.Image.open(file) as image:
      width, height = image.size
      mode, kind, rotated = image.mode, image.format, _rotated(image)
      file.seek(0, io.SEEK_END)
      file.seek(max(0, file.tell() - _TAIL))
      if _ENDS.get(kind, b"") not in file.read():
        raise Unreadable(f"a {kind} without its end: cut short")
  return Image((height, width), mode, rotated)


def _rotated(image: PIL.Image.Image) -> bool:
  return image.getexif().get(_ORIENTATION, 1) != 1


def _reason(error: Exception) -> str:
  if isinstance(error, PIL.UnidentifiedImageError):
    return "not an image"
  return str(error) or type(error).__name__
