"""The plan of an examination, made by the reader of a layout.

Everything that small files tell is found while the plan is made. What needs
frames, masks or videos is a list of tasks, one for each video, which share
nothing and run in parallel.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from sgmg_jax.input_pipeline.doctor import findings


@dataclasses.dataclass(frozen=True)
class Frame:
  """A frame that was read whole, to be compared with others.

  Attributes:
    split: such as "train"; an image of several is there once for each.
    video: name of its video; for images, of the image.
    file: where it lies.
    digest: equal for equal files.
  """

  split: str
  video: str
  file: str
  digest: bytes


@dataclasses.dataclass(frozen=True)
class Sentence:
  """A sentence in terms that all data sets share.

  Attributes:
    objects: what it refers to within the video; None if that is not public.
  """

  split: str
  video: str
  id: str
  text: str
  objects: tuple[int, ...] | None
  file: str


@dataclasses.dataclass
class Outcome:
  """What one task found."""

  findings: findings.Findings = dataclasses.field(
    default_factory=findings.Findings
  )
  frames: list[Frame] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Example:
  """A picture for the report, read when it is drawn.

  Attributes:
    load: returns uint8[H, W, 3] and bool[H, W], or None for the latter where
      masks are not public. May raise anything on broken data.
  """

  split: str
  video: str
  expression: str
  text: str
  load: Callable[[], tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass
class Plan:
  """How one data set is examined.

  Attributes:
    name: of the data set, such as "refer_ytvos".
    root: its folder.
    findings: what the small files tell.
    counts: numbers found, by split and quantity ("videos", "expressions").
    sentences: all of them.
    tasks: the rest of the work.
    examples: one for each sentence with a picture.
    train: splits that are trained on; all others are for evaluation.
    images: names of the images of each split, where sister sets share them
      (RefCOCO).
  """

  name: str
  root: pathlib.Path
  findings: findings.Findings = dataclasses.field(
    default_factory=findings.Findings
  )
  counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
  sentences: list[Sentence] = dataclasses.field(default_factory=list)
  tasks: list[Callable[[], Outcome]] = dataclasses.field(default_factory=list)
  examples: list[Example] = dataclasses.field(default_factory=list)
  train: frozenset[str] = frozenset({"train"})
  images: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)
