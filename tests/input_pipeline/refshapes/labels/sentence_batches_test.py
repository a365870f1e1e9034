"""Labels by hand; batches depend on (seed, step) alone."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import workers
from sgmg_jax.input_pipeline.refshapes import dataset, predicates
from sgmg_jax.input_pipeline.refshapes.labels import (
  meaning_labels,
  sentence_batches,
)

Predicate = predicates.Predicate
SPEC = sentence_batches.SentenceBatchSpec(
  seed=5, batch_size=30, num_frames=4, height=64, width=64
)


def _named(labels):
  return {meaning_labels.LABELS[i] for i in np.flatnonzero(labels)}


def test_labels_of_a_relation():
  # "the large red star left of the blue heart"
  other = (Predicate("colour", "blue"), Predicate("shape", "heart"))
  meaning = (
    Predicate("size", "large"),
    Predicate("colour", "red"),
    Predicate("shape", "star"),
    Predicate("beside", "left", other),
  )
  assert _named(meaning_labels.label(meaning)) == {
    "size=large",
    "colour=red",
    "shape=star",
    "beside=left",
    "beside>colour=blue",
    "beside>shape=heart",
  }


def test_labels_of_a_superlative():
  # "the first ring to enter": of the rings that enter at all
  among = (Predicate("shape", "ring"), Predicate("enters"))
  meaning = (
    Predicate("shape", "ring"),
    Predicate("enters"),
    Predicate("least", "entry", among),
  )
  assert _named(meaning_labels.label(meaning)) == {
    "shape=ring",
    "enters",
    "least=entry",
    "least>shape=ring",
    "least>enters",
  }


def test_vocabulary():
  assert len(set(meaning_labels.LABELS)) == len(meaning_labels.LABELS)
  looks = meaning_labels.LOOKS
  assert {name: len(columns) for name, columns in looks.items()} == {
    "shape": 9,
    "colour": 11,
    "texture": 4,
    "size": 3,
  }
  assert meaning_labels.LABELS[looks["colour"][0]] == "colour=red"


def test_every_sentence_has_labels():
  for index, num_frames in itertools.product(range(60), (1, 6)):
    clip = dataset.generate_clip(
      "val", index, num_frames=num_frames, height=64, width=64
    )
    for expression in clip.expressions:
      assert meaning_labels.label(expression.meaning).any(), expression


def _take(count, spec=SPEC, start=0, **kwargs):
  make = functools.partial(sentence_batches.make_batch, spec)
  steps = range(start, start + count)
  return list(workers.in_order(make, steps, **kwargs))


def _same(a, b):
  return a.texts == b.texts and np.array_equal(a.labels, b.labels)


@pytest.fixture(scope="module")
def straight():
  return _take(3, start=0, num_workers=0, prefetch=1)


def test_shapes(straight):
  for batch in straight:
    assert len(batch.texts) == 30
    assert batch.labels.shape == (30, len(meaning_labels.LABELS))


def test_labels_are_those_of_the_texts(straight):
  for text, labels in zip(straight[0].texts, straight[0].labels):
    own = _named(labels)
    assert ("shape=star" in own) <= (" star" in text), text
    assert any("colour=red" in name for name in own) == (" red " in text), text


def test_workers_and_start_change_nothing(straight):
  made = _take(2, start=1, num_workers=1, prefetch=2)
  assert all(map(_same, made, straight[1:]))


def test_every_step_and_seed_has_its_own_sentences(straight):
  assert straight[0].texts != straight[1].texts
  other = dataclasses.replace(SPEC, seed=6)
  assert _take(1, other, start=0, num_workers=0, prefetch=1)[0].texts != (
    straight[0].texts
  )


def test_clips_too_small():
  small = dataclasses.replace(SPEC, height=16)
  with pytest.raises(UserError, match="16x64"):
    sentence_batches.make_batch(small, 0)
