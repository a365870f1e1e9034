"""tIoU, vIoU, stability and presence of small videos."""

import numpy as np
import pytest

from sgmg_jax.evaluation import measures, presence, temporal


def shown(text):
  return np.array([c == "x" for c in text])


@pytest.mark.parametrize(
  "pred, truth, expected",
  [
    ("xx..", ".xx.", 1 / 3),
    ("xxxx", "xxxx", 1),
    ("....", "xx..", 0),
    ("....", "....", 1),
    ("x...", "....", 0),
  ],
)
def test_temporal_iou(pred, truth, expected):
  assert temporal.temporal_iou(shown(pred), shown(truth)) == expected


def test_video_iou_counts_frames_of_both_over_those_of_any():
  region = np.array([0.0, 0.5, 0.25, 1.0])
  both = shown("xxx."), shown(".xx.")
  assert temporal.video_iou(region, *both) == pytest.approx(0.75 / 3)
  nothing = shown("...."), shown("....")
  assert temporal.video_iou(np.ones(4), *nothing) == 1


def test_successive_overlaps_go_on_across_parts():
  masks = np.random.default_rng(0).random((5, 6, 7)) > 0.5
  whole = temporal.successive_overlaps(masks)
  assert np.isnan(whole[0])
  assert whole[3] == measures.region_similarity(masks[3], masks[2])
  parts = [
    temporal.successive_overlaps(masks[:2]),
    temporal.successive_overlaps(masks[2:], masks[1]),
  ]
  np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_stability_blames_change_beyond_that_of_the_truth():
  first = np.nan
  truth = np.array([first, 1.0, 0.5, 1.0])
  assert temporal.stability(truth, truth) == 1
  flicker = np.array([first, 0.0, 0.0, 1.0])
  assert temporal.stability(flicker, truth) == pytest.approx(1 - 1.5 / 3)
  # It moves less than the truth: an error of J alone.
  assert temporal.stability(np.array([first, 1, 1, 1]), truth) == 1
  assert temporal.stability(truth[:1], truth[:1]) == 1


def test_presence():
  none, some = shown("...."), shown(".x..")
  assert presence.accuracy(some, shown(".xx.")) == 0.75
  assert presence.no_target_correct(none, none) == 1
  assert presence.no_target_correct(some, none) == 0
  assert presence.target_correct(some, shown("x...")) == 1
  assert presence.target_correct(none, some) == 0
  assert np.isnan(presence.no_target_correct(none, some))
  assert np.isnan(presence.target_correct(some, none))
