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


CODES: Final = {
  # structure
  "file-missing": Code("structure", "error", "a file that the layout needs"),
  "file-optional": Code("structure", "info", "absent, made when needed"),
  "malformed": Code("structure", "error", "a file of another form"),
  "key-repeated": Code(
    "structure", "error", "a JSON key that an object has twice"
  ),
  "pickle-corrupt": Code("structure", "error", "a pickle that cannot be read"),
  "pickle-unsafe": Code(
    "structure", "error", "a pickle that would run code; it was not run"
  ),
  "conversion-differs": Code(
    "structure", "error", "a converted file that the raw data contradicts"
  ),
  "video-missing": Code("structure", "error", "listed, but not there"),
  "video-extra": Code("structure", "info", "there, but not listed"),
  # counts
  "count": Code("counts", "warning", "another number than published"),
  # frames
  "frames-empty": Code("frames", "error", "a video that lists no frames"),
  "frames-order": Code("frames", "error", "frames repeated or out of order"),
  "frame-missing": Code("frames", "error", "a listed frame without image"),
  "frame-corrupt": Code("frames", "error", "an image that cannot be read"),
  "frame-size": Code("frames", "error", "sizes differ inside a video"),
  "frame-mode": Code("frames", "warning", "an image that is not plain RGB"),
  "frame-rotated": Code(
    "frames", "warning", "an EXIF orientation, which readers apply"
  ),
  "frame-index": Code(
    "frames", "error", "an annotated frame that is not there"
  ),
  "frame-extra": Code("frames", "info", "images that are not listed"),
  "video-corrupt": Code("frames", "error", "a video file that cannot be read"),
  # masks
  "mask-missing": Code("masks", "error", "a listed frame without mask"),
  "mask-corrupt": Code("masks", "error", "a mask that cannot be read"),
  "mask-mode": Code("masks", "error", "a PNG that is not palette or grey"),
  "mask-size": Code("masks", "error", "mask and frame of different sizes"),
  "mask-shape": Code("masks", "error", "an array of another form"),
  "mask-values": Code("masks", "error", "other values than 0 and 1"),
  "mask-empty": Code("masks", "warning", "ground truth without a pixel"),
  "mask-differs": Code("masks", "error", "two files disagree on a mask"),
  # sentences
  "expression-missing": Code("sentences", "warning", "nothing is described"),
  "expression-malformed": Code("sentences", "error", "an entry without text"),
  "expression-empty": Code("sentences", "warning", "an empty sentence"),
  "expression-target": Code(
    "sentences", "warning", "a sentence that refers to no object"
  ),
  "expression-blanks": Code(
    "sentences", "info", "stray blanks, which readers remove"
  ),
  "sentence-shared": Code(
    "sentences", "warning", "one sentence for several objects of a video"
  ),
  "sentence-repeated": Code(
    "sentences", "info", "a sentence given to its object more than once"
  ),
  # objects
  "object-id-missing": Code("objects", "error", "a sentence without object id"),
  "object-id-malformed": Code("objects", "error", "not an object id"),
  "object-unknown": Code("objects", "warning", "an object no meta file names"),
  "object-without-pixels": Code(
    "objects", "error", "a described object that no mask shows"
  ),
  "object-undescribed": Code("objects", "info", "a masked object, no sentence"),
  "annotation-missing": Code("objects", "error", "a mask id that is not there"),
  "annotation-crowd": Code("objects", "warning", "a crowd or empty polygons"),
  "annotation-box": Code("objects", "warning", "a box outside of its image"),
  "reference-unknown": Code("objects", "error", "an id that no file defines"),
  "annotators": Code(
    "objects", "error", "not four sentences for each DAVIS object"
  ),
  # duplicates
  "frame-repeated": Code("duplicates", "info", "a still part of a video"),
  "frame-duplicate": Code("duplicates", "warning", "a frame in two videos"),
  # leaks
  "leak-frame": Code(
    "leaks", "error", "a frame in training and in evaluation data"
  ),
  "leak-video": Code(
    "leaks", "warning", "a video's name in training and in evaluation data"
  ),
  "leak-image": Code(
    "leaks",
    "warning",
    "RefCOCO images trained on and evaluated in a sister set (as published)",
  ),
}
CHECKS: Final = tuple(dict.fromkeys(code.check for code in CODES.values()))


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
