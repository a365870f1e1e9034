"""Paired comparison of two predictions."""

import math

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import comparison
from sgmg_jax.evaluation.scores import Labels, Row, Scores


def scores(values, videos="aabbcc"):
  rows = [
    Row(video, str(k), f"sentence {k}", {"J&F": value, "J": value / 2})
    for k, (video, value) in enumerate(zip(videos, values))
  ]
  return Scores("own", "local", "J&F", {}, rows)


FIRST = scores([0.5, 0.5, 0.5, 0.5, 0.5, math.nan])


def test_sentences_are_paired_whatever_their_order():
  second = scores([0.6, 0.7, 0.5, 0.8, 0.4, 0.1])
  second = Scores("own", "local", "J&F", {}, second.rows[::-1])
  found = comparison.compare(FIRST, second)
  mean, low, high = found.differences["J&F"]
  assert mean == pytest.approx((0.1 + 0.2 + 0 + 0.3 - 0.1) / 5)
  assert low < mean < high
  assert found.differences["J"].mean == pytest.approx(mean / 2)
  assert found.value == "J&F"
  names = [change.row.expression for change in found.changes]
  assert names == ["4", "2", "0", "1", "3"]
  most = comparison.most_changed(found, 2)
  assert [change.row.expression for change in most] == ["3", "1"]
  text = found.table()
  assert "3 sentences are better, 1 worse, 1 the same" in text
  assert "+30.0  b/3: sentence 3" in text


def test_what_differs_surely_has_a_star():
  surely = comparison.compare(FIRST, scores([0.6] * 6)).table()
  assert "+10.00   95 % interval +10.00 to +10.00  *" in surely
  same = comparison.compare(FIRST, FIRST).table()
  assert "*" not in same
  assert same.endswith("0 sentences are better, 0 worse, 5 the same in J&F")


def test_objects_are_paired_where_predictions_choose_the_sentence():
  """As in Ref-DAVIS17, where more is described than the masks have."""

  def of(expression, value, object_id):
    labels = Labels(0, 1, object_id)
    return Row("v", expression, f"sentence {expression}", {"J": value}, labels)

  first, second = (
    Scores("refer_davis", "p", "J", {}, rows)
    for rows in (
      [of("0", 0.5, 1), of("4", 0.5, 2)],
      [of("8", 0.75, 2), of("0", 0.0, 1)],
    )
  )
  found = comparison.compare(first, second)
  assert found.differences["J"].mean == -0.125
  pairs = [(c.row.expression, c.other.expression) for c in found.changes]
  assert pairs == [("0", "0"), ("4", "8")]


def test_other_sentences_are_refused():
  with pytest.raises(UserError, match="2 sentences are in one .* first a/1"):
    comparison.compare(FIRST, scores([0.5] * 6, "abbbcc"))
