"""Units of an evaluation: sentences that share an encoding."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import threading
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

from sgmg_jax.input_pipeline import source as source_lib

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Unit:
  """The sentences about a video, or about one annotated frame of it.

  Attributes:
    name: unique within the data set.
    frame: index of the annotated frame; None: all frames.
    expressions: in the order of the data set.
  """

  name: str
  video: str
  frame: int | None
  expressions: tuple[source_lib.Expression, ...]


def of_source(source: source_lib.Source) -> list[Unit]:
  """List the units of a split, in the order of their first sentences."""
  groups: dict[tuple[str, int | None], list[source_lib.Expression]] = {}
  for e in source.expressions:
    groups.setdefault((e.video, e.frame), []).append(e)
  return [
    Unit(video if frame is None else f"{video}/{frame}", video, frame, tuple(e))
    for (video, frame), e in groups.items()
  ]


def ranks(objects: Sequence[Hashable]) -> list[int]:
  """How many of the same object come before each."""
  seen: collections.Counter = collections.Counter()
  found = []
  for object_ in objects:
    found.append(seen[object_])
    seen[object_] += 1
  return found


def digest(units: Sequence[Unit]) -> str:
  """SHA-256 of all names and sentences: tells data sets apart."""
  result = hashlib.sha256()
  for unit in units:
    for e in unit.expressions:
      result.update(repr((unit.name, e.id, e.text)).encode())
  return result.hexdigest()


class Shared(Generic[Item]):
  """An iterator that several threads take from, until one ends it."""

  def __init__(self, items: Sequence[Item]):
    self._items = iter(items)
    self._lock = threading.Lock()
    self._ended = False

  def __iter__(self) -> Iterator[Item]:
    return self

  def __next__(self) -> Item:
    with self._lock:
      if self._ended:
        raise StopIteration
      return next(self._items)

  def end(self) -> None:
    """Give nothing any more, such as after another thread's error."""
    self._ended = True
