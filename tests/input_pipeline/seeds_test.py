"""Streams are those of the integers and of nothing else."""

import itertools

from sgmg_jax.input_pipeline import seeds


def _head(*ints):
  return tuple(seeds.generator(*ints).integers(0, 1 << 62, 4))


def test_same_integers_same_stream():
  assert _head(3, 1, 4, -1) == _head(3, 1, 4, -1)


def test_other_integers_other_stream():
  tuples = [
    ints
    for length in range(4)
    for ints in itertools.product((0, 1, 2**32, -1), repeat=length)
  ]
  assert len({_head(*ints) for ints in tuples}) == len(tuples)


def test_stream_is_kept_between_releases():
  # A run goes on with the data it would have had.
  assert list(seeds.generator(1, 2, 3).integers(0, 1000, 5)) == [
    638,
    582,
    844,
    831,
    546,
  ]
