"""Groups of sentences that go through the model together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from sgmg_jax.input_pipeline.ops import captions

# Rows of Fast SgMg's programs: few serve any number of sentences.
_SIZES: Final = (1, 2, 4, 8, 12, 16)


@dataclasses.dataclass(frozen=True)
class Group:
  """Some of the sentences that are asked about a video.

  Attributes:
    sentences: of the rows that the model sees.
    padded: rows of the program; those beyond the sentences only fill it.
    positions: int[N], among all sentences, of those that the group answers.
    rows: int[N], which row answers each.
  """

  sentences: tuple[str, ...]
  padded: int
  positions: np.ndarray
  rows: np.ndarray

  def answers(self, x: np.ndarray) -> np.ndarray:
    """What `x` has of each sentence, [G, ...], of each position, [N, ...]."""
    if len(self.rows) == len(x) and (np.diff(self.rows) == 1).all():
      return x
    return x[self.rows]


def of_one_size(sentences: Sequence[str], size: int) -> list[Group]:
  """Split for SgMg, whose answers do not depend on the others of a group."""
  groups = []
  for first in range(0, len(sentences), size):
    some = tuple(sentences[first : first + size])
    rows = np.arange(len(some))
    groups.append(Group(some, size, first + rows, rows))
  return groups


def together(sentences: Sequence[str], most: int) -> list[Group]:
  """Split for Fast SgMg, which sums over the sentences of a group.

  The same sentence in other words of case and space is asked once, for a
  second time would double its weight. Where there are too many sentences, the
  sizes of the groups differ by at most one.

  Returns:
    Groups that are `padded`.
  """
  row_of: dict[str, int] = {}
  distinct: list[str] = []
  answered = []
  for sentence in sentences:
    key = captions.normalise(sentence)
    if key not in row_of:
      row_of[key] = len(distinct)
      distinct.append(sentence)
    answered.append(row_of[key])
  answered = np.array(answered)
  groups = []
  for rows in np.array_split(
    np.arange(len(distinct)), -(-len(distinct) // most)
  ):
    first, count = rows[0], len(rows)
    positions = np.flatnonzero(np.isin(answered, rows))
    groups.append(
      Group(
        tuple(distinct[first : first + count]),
        padded(count, most),
        positions,
        answered[positions] - first,
      )
    )
  return groups


def padded(count: int, most: int) -> int:
  """Rows of a program for so many sentences of at most `most`."""
  power = 1 << (count - 1).bit_length()
  return min([most, power, *(size for size in _SIZES if size >= count)])
