"""The kinds of findings of the doctor, and the list of those found."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Final, Literal

from sgmg_jax.input_pipeline import problems

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final = ("error", "warning", "info")


@dataclasses.dataclass(frozen=True)
class Code:
  """One kind of finding.

  Attributes:
    check: the row of the table it is counted in.
    severity: error: reading fails, or gives other samples or figures than the
      protocol. warning: readable, probably not meant. info: worth knowing.
    meaning: one line for people.
  """

  check: str
  severity: Severity
  meaning: str


# (severity, meaning) of the codes of each check.
_CODES: Final = {
  "structure": {
    "file-missing": ("error", "a file that the layout needs"),
    "file-optional": ("info", "absent, made when needed"),
    "malformed": ("error", "a file of another form"),
    "key-repeated": ("error", "a JSON key that an object has twice"),
    "pickle-corrupt": ("error", "a pickle that cannot be read"),
    "pickle-unsafe": ("error", "a pickle that would run code; it was not run"),
    "conversion-differs": (
      "error",
      "a converted file that the raw data contradicts",
    ),
    "video-missing": ("error", "listed, but not there"),
    "video-extra": ("info", "there, but not listed"),
  },
  "counts": {
    "count": ("warning", "another number than published"),
  },
  "frames": {
    "frames-empty": ("error", "a video that lists no frames"),
    "frames-order": ("error", "frames repeated or out of order"),
    "frame-missing": ("error", "a listed frame without image"),
    "frame-corrupt": ("error", "an image that cannot be read"),
    "frame-size": ("error", "sizes differ inside a video"),
    "frame-mode": ("warning", "an image that is not plain RGB"),
    "frame-rotated": ("warning", "an EXIF orientation, which readers apply"),
    "frame-index": ("error", "an annotated frame that is not there"),
    "frame-extra": ("info", "images that are not listed"),
    "video-corrupt": ("error", "a video file that cannot be read"),
  },
  "masks": {
    "mask-missing": ("error", "a listed frame without mask"),
    "mask-corrupt": ("error", "a mask that cannot be read"),
    "mask-mode": ("error", "a PNG that is not palette or grey"),
    "mask-size": ("error", "mask and frame of different sizes"),
    "mask-shape": ("error", "an array of another form"),
    "mask-values": ("error", "other values than 0 and 1"),
    "mask-empty": ("warning", "ground truth without a pixel"),
    "mask-differs": ("error", "two files disagree on a mask"),
  },
  "sentences": {
    "expression-missing": ("warning", "nothing is described"),
    "expression-malformed": ("error", "an entry without text"),
    "expression-empty": ("warning", "an empty sentence"),
    "expression-target": ("warning", "a sentence that refers to no object"),
    "expression-blanks": ("info", "stray blanks, which readers remove"),
    "sentence-shared": (
      "warning",
      "one sentence for several objects of a video",
    ),
    "sentence-repeated": (
      "info",
      "a sentence given to its object more than once",
    ),
  },
  "objects": {
    "object-id-missing": ("error", "a sentence without object id"),
    "object-id-malformed": ("error", "not an object id"),
    "object-unknown": ("warning", "an object no meta file names"),
    "object-without-pixels": ("error", "a described object that no mask shows"),
    "object-undescribed": ("info", "a masked object, no sentence"),
    "annotation-missing": ("error", "a mask id that is not there"),
    "annotation-crowd": ("warning", "a crowd or empty polygons"),
    "annotation-box": ("warning", "a box outside of its image"),
    "reference-unknown": ("error", "an id that no file defines"),
    "annotators": ("error", "not four sentences for each DAVIS object"),
  },
  "duplicates": {
    "frame-repeated": ("info", "a still part of a video"),
    "frame-duplicate": ("warning", "a frame in two videos"),
  },
  "leaks": {
    "leak-frame": ("error", "a frame in training and in evaluation data"),
    "leak-video": (
      "warning",
      "a video's name in training and in evaluation data",
    ),
    "leak-image": (
      "warning",
      "RefCOCO images trained on and evaluated in a sister set (as published)",
    ),
  },
}
CODES: Final = {
  name: Code(check, *about)
  for check, codes in _CODES.items()
  for name, about in codes.items()
}
CHECKS: Final = tuple(_CODES)


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing found; empty strings where it concerns no file, video, …"""

  severity: Severity
  code: str
  message: str
  file: str = ""
  video: str = ""
  expression: str = ""

  @property
  def check(self) -> str:
    return CODES[self.code].check

  def __str__(self) -> str:
    places = [self.file]
    # Readers' messages name these themselves.
    for what in ("video", "expression"):
      place = f"{what} {getattr(self, what)!r}"
      if getattr(self, what) and place not in self.message:
        places.append(place)
    return f"{', '.join(filter(None, places))}: {self.message}".lstrip(": ")


class Findings(list[Finding]):
  """A list of findings that knows the severity of each code."""

  def add(
    self,
    code: str,
    message: str,
    *,
    file: str | os.PathLike = "",
    place: str = "",
    video: str = "",
    expression: str = "",
    severity: Severity | None = None,
  ) -> None:
    """Append one; readers report to it.

    Args:
      place: within the file, such as "line 3".
      severity: only where it departs from the code's.
    """
    severity = severity or CODES[code].severity
    message = f"{place}: {message}" if place else message
    self.append(Finding(severity, code, message, str(file), video, expression))

  @contextlib.contextmanager
  def caught(self, video: str = "") -> Iterator[None]:
    """Add the problem that ends what is done inside, if any.

    Args:
      video: of a problem that names none.
    """
    try:
      yield
    except problems.Problem as e:
      self.add(e.code, e.message, **{"video": video, **e.where})

  def number(self, severity: Severity) -> int:
    return sum(finding.severity == severity for finding in self)
