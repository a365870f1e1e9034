"""Reading single files that may be missing, cut short or of another form."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import pathlib
from typing import Any, Final

import PIL.Image

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import run_lengths, still_image
from sgmg_jax.input_pipeline.doctor import findings
from sgmg_jax.input_pipeline.layouts import json_file

Unreadable = still_image.Unreadable

# How a whole file ends. A JPEG may be followed by padding; inside its data
# the two bytes cannot occur.
_ENDS: Final = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL: Final = 4096


@dataclasses.dataclass(frozen=True)
class Image:
  """Header of an image file and, if it was read whole, its content.

  Attributes:
    size: (height, width) once upright, pixels.
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
  """Read a still image; with `fast` its header and its end only.

  Args:
    values: of a label map: count the grey levels or palette indices.
      Otherwise a JPEG is decoded at an eighth of its size, which reads all of
      its data.

  Raises:
    Unreadable: with the reason.
  """
  try:
    if fast:
      return _read_ends(path)
    data = regular_file.read_bytes(path)
  except FileNotFoundError as e:
    raise Unreadable("no such file") from e
  except OSError as e:
    raise Unreadable(e.strerror) from e
  with still_image.opened(io.BytesIO(data)) as image:
    size, mode, rotated = _header(image)
    if not values:
      still_image.check_depth(image)
      image.draft(None, (1, 1))
    image.load()
    counted = None
    if values and mode in ("P", "L"):
      counted = {i: n for i, n in enumerate(image.histogram()) if n}
  digest = hashlib.blake2b(data, digest_size=16).digest()
  return Image(size, mode, rotated, digest, counted)


def read_json(
  path: pathlib.Path, log: findings.Findings, kind: type = dict
) -> Any:
  """The content of a JSON file; None, and a finding, if it is not one."""
  expected = {dict: "an object", list: "a list"}[kind]
  with log.caught():
    return json_file.read(path, expected, kind=kind, report=log.add)


_MASK_CODES: Final = {
  "shape": "mask-shape",
  "size": "mask-size",
  "runs": "mask-corrupt",
}


def has_pixels(
  code: Any,
  size: tuple[int, int] | None,
  log: findings.Findings,
  *,
  fast: bool,
  what: str = "",
  **where,
) -> bool | None:
  """Return whether a run-length code has a pixel; None if it is malformed.

  Args:
    size: (height, width) it must have; None if that is not known.
    fast: do not look at the runs; a code of the right size then has pixels.
    what: names the code in the file.
  """
  try:
    if fast:
      run_lengths.check_size(code, size)
      return True
    return bool(run_lengths.runs(code, size)[1::2].any())
  except run_lengths.Malformed as e:
    log.add(_MASK_CODES[e.kind], f"{what}: {e}" if what else str(e), **where)
    return None


def names_in(folder: pathlib.Path) -> list[str]:
  """Sorted names in a folder, hidden ones left out; [] without a folder."""
  if not folder.is_dir():
    return []
  return sorted(name for name in os.listdir(folder) if name[0] != ".")


def some(names, limit: int = 5) -> str:
  """The first few: "a, b, c and 7 more"."""
  names = [str(name) for name in names]
  rest = len(names) - limit
  shown = ", ".join(names[:limit])
  return f"{shown} and {rest} more" if rest > 0 else shown


def _read_ends(path: pathlib.Path) -> Image:
  with regular_file.open_binary(path) as file:
    with still_image.opened(file) as image:
      kind, header = image.format, _header(image)
      file.seek(0, io.SEEK_END)
      file.seek(max(0, file.tell() - _TAIL))
      if _ENDS.get(kind, b"") not in file.read():
        raise Unreadable(f"a {kind} without its end: cut short")
  return Image(*header)


def _header(image: PIL.Image.Image) -> tuple[tuple[int, int], str, bool]:
  """Size, mode and whether it has to be turned upright."""
  still_image.check_still(image)
  rotated = still_image.orientation(image) != 1
  return still_image.size(image), image.mode, rotated
