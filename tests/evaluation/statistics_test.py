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


def test_one_group_has_no_interval():
  mean, low, high = statistics.bootstrap([0.2, 0.4], ["a", "a"])
  assert mean == pytest.approx(0.3) and np.isnan(low) and np.isnan(high)


@pytest.mark.parametrize("what", ["mean", "ratio", "difference"])
def test_intervals_hold_what_they_shall(what):
  """Of 100 data sets, about 95 hold the truth of all data."""
  random = np.random.default_rng(0)
  ratio = lambda s: s[..., 1] / s[..., 2]
  held = 0
  for _ in range(100):
    # 80 videos of 1 to 4 sentences; those of a video are alike.
    videos = np.repeat(np.arange(80), random.integers(1, 5, 80))
    hard = random.normal(size=80)[videos]
    noise = random.normal(size=(2, len(videos)))
    if what == "mean":
      values, statistic, truth = 0.5 + hard + noise[0], None, 0.5
    elif what == "ratio":
      union = 100 * np.exp(0.5 * hard)
      inter = union * (0.6 + 0.1 * noise[0])
      values, statistic, truth = np.stack([inter, union], 1), ratio, 0.6
    else:
      # Two models find the same videos hard.
      first, second = 0.5 + hard + 0.3 * noise[0], hard + 0.3 * noise[1]
      values, statistic, truth = first - second, None, 0.5
    _, low, high = statistics.bootstrap(
      values, videos, num_samples=200, statistic=statistic
    )
    held += low <= truth <= high
    if what == "difference":
      # Not as wide as that of either model.
      assert high - low < 0.2
  # Percentile intervals of so few videos are a little narrow.
  assert 90 <= held <= 98
