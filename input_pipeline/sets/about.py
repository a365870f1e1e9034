"""Facts of a data set that are known before any file of it is opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

# What sampling, transforms and evaluation depend on: whole videos with masks
# in every frame, videos with few annotated frames, still images, or clips
# that are drawn.
Family = Literal["videos", "actors", "images", "drawn"]
# Split -> quantity -> number.
Counts = Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
  """The facts of a data set, `ABOUT` of its folder's `about.py`.

  Nothing else in the package lists them: a new set is a new folder with
  `about.py`, `reader.py` and, to be checked, `doctor.py`.

  Attributes:
    splits: built if no others are asked for, by name of the set; () where the
      files tell. Sister sets (RefCOCO) share a folder and a reader, which
      takes the name as `dataset`; the first name is the folder's.
    family: which recipe it has, see `batches.recipes`.
    description: one line, for people.
    download: what to download and how to lay it out; None if it is drawn.
    re_encoded: splits built as JPEG though the reader gives other files.
    lone_anchor: whether a training clip of one frame is the frame sampled,
      else its neighbour before (as released).
    published: numbers counted in the published files.
    quoted: numbers taken from papers, not as sure.
    looked_for: patterns of files, any of which tells the doctor; () if it
      has no doctor of its own.
    layout_of: another set whose layout it may have, too; then its folder's
      name holds `called`.
    called: part of a name, in lower case.
  """

  splits: Mapping[str, tuple[str, ...]]
  reader: str
  family: Family
  description: str
  homepage: str | None = None
  citation: str | None = None
  download: str | None = None
  re_encoded: tuple[str, ...] = ()
  lone_anchor: bool = True
  published: Counts = dataclasses.field(default_factory=dict)
  quoted: Counts = dataclasses.field(default_factory=dict)
  looked_for: tuple[str, ...] = ()
  layout_of: str = ""
  called: str = ""

  @property
  def folder(self) -> str:
    """Name of its folder in `sets`, and in that of built data sets."""
    return next(iter(self.splits))

  @property
  def has_sisters(self) -> bool:
    """Whether it stands for several sets."""
    return len(self.splits) > 1
