"""The plan of an examination, made by the doctor of a data set.

Everything that small files tell is found while the plan is made. What needs
frames, masks or videos is a list of tasks, one for each video, which share
nothing and run in parallel.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.doctor import findings


@dataclasses.dataclass(frozen=True)
class Frame:
  """A frame that was read whole, to be compared with others.

  Attributes:
    split: such as "train"; an image of several is there once for each.
    video: name of its video; for images, of the image.
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
  """Findings and frames of one task."""

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
  """Examination of one data set.

  Attributes:
    findings: what the small files tell.
    counts: numbers found, by split and quantity ("videos", "expressions").
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

  def add_sentences(
    self,
    source: source_lib.Source,
    expressions: Sequence[source_lib.Expression],
    file: pathlib.Path,
  ) -> None:
    """Add sentences of a split, which stand in the file."""
    public = any(e.object_ids for e in source.expressions)
    self.sentences += [
      Sentence(
        source.split,
        e.video,
        e.id,
        e.text,
        e.object_ids if public else None,
        str(file),
      )
      for e in expressions
    ]

  def add_examples(
    self,
    source: source_lib.Source,
    expressions: Iterable[source_lib.Expression],
  ) -> None:
    """Add pictures of what the sentences describe."""
    self.examples += [
      Example(
        source.split, e.video, e.id, e.text, functools.partial(_load, source, e)
      )
      for e in expressions
    ]


def described(source: source_lib.Source) -> dict[str, dict[int, list[str]]]:
  """Expression ids by object id, by video."""
  result = {}
  for e in source.expressions:
    objects = result.setdefault(e.video, {})
    for object_id in e.object_ids:
      objects.setdefault(object_id, []).append(e.id)
  return result


def _load(source: source_lib.Source, e: source_lib.Expression):
  """Read the annotated frame, or one in the middle, and its mask."""
  index = e.frame
  if index is None:
    index = len(source.video(e.video).frames) // 2
  (frame,) = source.read_frames(e.video, [index])
  return frame, source.read_masks(e, [index])[0] if e.object_ids else None
