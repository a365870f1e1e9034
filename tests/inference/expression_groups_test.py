import numpy as np
import pytest

from sgmg_jax.inference import expression_groups, stages

SENTENCES = ["the dog", "a cat", "The  dog", "a ball", "a hat", "a cat"]


def _lists(group):
  return group.positions.tolist(), group.rows.tolist()


def test_sgmg_answers_each_in_groups_of_one_size():
  first, second = expression_groups.of_one_size(SENTENCES, 4)
  assert first.sentences + second.sentences == tuple(SENTENCES)
  assert first.padded == second.padded == 4
  assert _lists(second) == ([4, 5], [0, 1])


def test_fast_sgmg_is_asked_once_for_what_is_said_twice():
  (group,) = expression_groups.together(SENTENCES, 16)
  assert group.sentences == ("the dog", "a cat", "a ball", "a hat")
  assert group.padded == 4
  assert _lists(group) == ([0, 1, 2, 3, 4, 5], [0, 1, 0, 2, 3, 1])


def test_long_lists_are_split_evenly():
  first, second = expression_groups.together(SENTENCES, 3)
  assert first.sentences + second.sentences == (
    "the dog",
    "a cat",
    "a ball",
    "a hat",
  )
  assert _lists(first) == ([0, 1, 2, 5], [0, 1, 0, 1])
  assert _lists(second) == ([3, 4], [0, 1])
  many = expression_groups.together([str(k) for k in range(33)], 16)
  assert [len(group.sentences) for group in many] == [11, 11, 11]


@pytest.mark.parametrize(
  "count, padded", [(1, 1), (3, 4), (5, 8), (8, 8), (9, 10)]
)
def test_a_few_sizes_serve_any_number(count, padded):
  (group,) = expression_groups.together([str(k) for k in range(count)], 10)
  assert group.padded == padded


def test_answers_come_in_the_order_of_the_questions():
  first, second = expression_groups.together(SENTENCES, 3)
  values = {"the dog": 1, "a cat": 2, "a ball": 3, "a hat": 4}
  answers = [
    (g.positions, np.array([values[g.sentences[row]] for row in g.rows]))
    for g in (second, first)
  ]
  (found,) = stages.in_order(answers)
  assert found.tolist() == [1, 2, 1, 3, 4, 2]
