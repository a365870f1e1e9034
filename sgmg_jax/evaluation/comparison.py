"""Compare two sets of predictions sentence by sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import statistics
from sgmg_jax.evaluation.scores import Row, Scores

# Sentences that changed most, which are named.
_NAMED: Final = 10


@dataclasses.dataclass(frozen=True)
class Change:
  """One sentence (of Ref-DAVIS17: object and annotator) in both.

  Attributes:
    row, other: of the first and of the second.
    before, after: its value in the first and the second, fractions.
  """

  row: Row
  other: Row
  before: float
  after: float

  @property
  def difference(self) -> float:
    """Of the second to the first."""
    return self.after - self.before


@dataclasses.dataclass(frozen=True)
class Comparison:
  """How the second differs from the first.

  Attributes:
    differences: of each value, mean over sentences of second less first, with
      its interval over drawn videos.
    value: name of the value that changes are of.
    changes: all sentences that have it, by how much they lost or gained, the
      largest loss first.
  """

  differences: Mapping[str, statistics.Interval]
  value: str
  changes: Sequence[Change]

  def table(self) -> str:
    """Differences in percent, and the sentences that changed most."""
    width = max(map(len, self.differences), default=0)
    lines = ["second less first, in percent, mean over sentences:"]
    starred = False
    for name, (mean, low, high) in self.differences.items():
      line = f"  {name:{width}}  {100 * mean:+6.2f}"
      if low == low:
        line += f"   95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        if low > 0 or high < 0:
          line += "  *"
          starred = True
      lines.append(line)
    if starred:
      lines.append("  * the interval does not hold 0")
    counts = [
      sum(kind(change.difference) for change in self.changes)
      for kind in (lambda d: d > 0, lambda d: d < 0, lambda d: d == 0)
    ]
    changed = most_changed(self, _NAMED)
    lines.append(
      "{} sentences are better, {} worse, {} the same in {}{}".format(
        *counts, self.value, "; changed most:" if changed else ""
      )
    )
    for change in changed:
      lines.append(
        f"  {100 * change.difference:+6.1f}  {change.row.video}/"
        f"{change.row.expression}: {change.row.sentence}"
      )
    return "\n".join(lines)


def compare(first: Scores, second: Scores) -> Comparison:
  """Pair the sentences of two scores of one ground truth.

  Raises:
    UserError: they are of other sentences.
  """
  others = {row.key: row for row in second.rows}
  odd = others.keys() ^ {row.key for row in first.rows}
  if odd:
    names = [
      f"{row.video}/{row.expression}"
      for row in (*first.rows, *second.rows)
      if row.key in odd
    ]
    raise UserError(
      f"{len(odd)} sentences are in one of both alone, the first {min(names)}: "
      "expected scores of the same sentences"
    )
  pairs = [(row, others[row.key]) for row in first.rows]
  videos = np.array([row.video for row in first.rows])
  differences = {}
  names = [n for n in first.rows[0].values if n in second.rows[0].values]
  for name in names:
    delta = np.array(
      [other.values[name] - row.values[name] for row, other in pairs]
    )
    there = ~np.isnan(delta)
    if there.any():
      differences[name] = statistics.bootstrap(delta[there], videos[there])
  changes = [
    Change(row, other, row.values[names[0]], other.values[names[0]])
    for row, other in pairs
  ]
  changes = [c for c in changes if not np.isnan(c.difference)]
  return Comparison(
    differences, names[0], sorted(changes, key=lambda c: c.difference)
  )


def most_changed(comparison: Comparison, number: int) -> list[Change]:
  """The sentences that changed most, in either direction."""
  changed = [c for c in comparison.changes if c.difference]
  return sorted(changed, key=lambda c: -abs(c.difference))[:number]
