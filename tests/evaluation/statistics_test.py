"""Statistics against the official code's numbers; bootstrap intervals."""

import json
import pathlib

import numpy as np
import pytest

from sgmg_jax.evaluation import statistics

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/eval"
CASES = json.loads((GOLDEN / "db_statistics_cases.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: len(c["values"]))
def test_every_official_case(case):
  actual = statistics.over_frames(case["values"])
  assert actual.mean == pytest.approx(case["mean"], abs=1e-9)
  assert actual.recall == pytest.approx(case["recall"], abs=1e-9)
  if case["decay"] is not None:
    assert actual.decay == pytest.approx(case["decay"], abs=1e-9)


def test_more_than_256_frames_have_a_decay():
  """The official code's frame numbers overflow; no case of it is finite."""
  values = np.where(np.arange(300) < 75, 1.0, 0.0)
  # The first 75 of the first quarter's 76 frames; none of the last's.
  assert statistics.over_frames(values).decay == pytest.approx(75 / 76)


def test_intervals_draw_whole_groups():
  """20 sentences of 2 videos say as much as 2 values."""
  values = np.repeat([0.2, 0.8], 20)
  videos = np.repeat(["a", "b"], 20)
  apart = statistics.bootstrap(values, videos)
  assert apart == pytest.approx((0.5, 0.2, 0.8))
  alone = statistics.bootstrap(values)
  assert 0.37 < alone.low < 0.45 and 0.55 < alone.high < 0.63
  assert statistics.bootstrap(values) == alone


def test_intervals_of_other_statistics():
  """The quotient of two sums, as overall IoU is one."""
  columns = np.array([[1, 2], [3, 4], [5, 5]])
  interval = statistics.bootstrap(
    columns, statistic=lambda s: s[..., 1] / s[..., 2]
  )
  assert interval.mean == pytest.approx(9 / 11)
  assert 0.5 <= interval.low < interval.high <= 1
