"""Statistics of a benchmark's values: mean, recall, decay, intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Statistics(NamedTuple):
  """Of one object's values over the frames (DAVIS)."""

  mean: float
  recall: float
  decay: float


def over_frames(values: np.ndarray) -> Statistics:
  """Mean, recall and decay of float[T] as davis2017-evaluation has them.

  Recall is the share of frames above 0.5; decay the mean of the first quarter
  of the frames less that of the last, where neighbouring quarters share a
  frame. (The official code keeps frame numbers in 8 bits, which goes wrong
  above 256 frames; this does not.)
  """
  values = np.asarray(values, np.float64)
  if not len(values):
    raise ValueError("over_frames: expected at least one frame")
  ids = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
  first, last = values[: ids[1] + 1], values[ids[3] :]
  return Statistics(
    mean=float(values.mean()),
    recall=float((values > 0.5).mean()),
    decay=float(first.mean() - last.mean()),
  )


class Interval(NamedTuple):
  """A mean and the interval that holds it with the asked confidence, or NaN."""

  mean: float
  low: float
  high: float


def bootstrap(
  values: np.ndarray,
  groups: np.ndarray | None = None,
  *,
  confidence: float = 0.95,
  num_samples: int = 2000,
  seed: int = 0,
  statistic: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Interval:
  """Percentile bootstrap of the mean, drawing whole groups with replacement.

  Sentences of one video rise and fall together, so it is videos that are
  drawn.

  Args:
    values: float[N] or, for a statistic of several columns, float[N, C].
    groups: of each value, any sortable label (a video's name); None: each
      value is a group of its own.
    confidence: share of the draws between `low` and `high`.
    num_samples: draws.
    seed: of the draws; the same seed gives the same interval.
    statistic: of the sums float[..., 1 + C] over the drawn groups, the first
      of which is the number of values; None: the mean of `values`.

  Returns:
    The statistic of all values and its interval, which is NaN of one group:
    nothing tells how much another would differ.
  """
  values = np.asarray(values, np.float64)
  columns = values.reshape(len(values), -1)
  if groups is None:
    groups = np.arange(len(values))
  _, index = np.unique(np.asarray(groups), return_inverse=True)
  rows = np.concatenate([np.ones((len(columns), 1)), columns], 1)
  sums = np.zeros((index.max() + 1, rows.shape[1]))
  np.add.at(sums, index, rows)
  if statistic is None:
    statistic = lambda s: s[..., 1] / s[..., 0]
  random = np.random.default_rng(seed)
  if len(sums) < 2:
    return Interval(float(statistic(sums[0])), np.nan, np.nan)
  # How often each group is drawn: all that matters of a draw.
  drawn = random.multinomial(
    len(sums), np.full(len(sums), 1 / len(sums)), num_samples
  )
  draws = statistic(drawn @ sums)
  low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
  return Interval(float(statistic(sums.sum(0))), float(low), float(high))
