"""Roles of objects in sentences, and of the cells that show them."""

import numpy as np
import pytest

from sgmg_jax.input_pipeline.refshapes import dataset, predicates
from sgmg_jax.input_pipeline.refshapes.labels import role_labels

REFERENT, CANDIDATE, LANDMARK = range(3)


@pytest.fixture(scope="module")
def clips():
  return [
    dataset.generate_clip("val", i, num_frames=3, height=64, width=96)
    for i in range(12)
  ]


def _sentences(clips):
  for clip in clips:
    judge = predicates.Judge(clip.facts)
    for expression in clip.expressions:
      labels = role_labels.label_objects(
        judge, expression.meaning, expression.object_index
      )
      yield clip, expression, labels


def test_the_referent_is_one_object_that_looks_as_is_said(clips):
  for _, expression, labels in _sentences(clips):
    own = expression.object_index + 1
    assert labels[:, REFERENT].tolist() == [
      int(row == own) for row in range(len(labels))
    ]
    assert labels[own, CANDIDATE] in (-1, 1)


def test_words_of_looks_tell_who_is_a_candidate(clips):
  several = 0
  for clip, expression, labels in _sentences(clips):
    words = {
      p.name: p.value
      for p in expression.meaning
      if p.name in ("shape", "colour", "texture")
    }
    if any(p.name == "size" for p in expression.meaning) or not words:
      continue
    shows = clip.facts.share.max(1) > 0
    for body, seen, label in zip(
      clip.facts.bodies, shows, labels[1:, CANDIDATE], strict=True
    ):
      alike = all(getattr(body, name) == word for name, word in words.items())
      assert label == int(alike and seen)
    several += (labels[:, CANDIDATE] == 1).sum() > 1
  assert several > 10


def test_relations_have_one_landmark_and_plain_sentences_none(clips):
  seen = set()
  for _, expression, labels in _sentences(clips):
    seen |= {p.name for p in expression.meaning if p.among}
    if expression.kind != "relation":
      assert (labels[:, LANDMARK] == -1).all()
      continue
    landmarks = np.flatnonzero(labels[:, LANDMARK] == 1)
    assert len(landmarks) == 1
    assert landmarks[0] not in (0, expression.object_index + 1)
  assert {"most", "least"} < seen and len(seen) > 3


def test_nobody_is_meant_by_what_is_false(clips):
  judge = predicates.Judge(clips[0].facts)
  meaning = clips[0].expressions[0].meaning
  labels = role_labels.label_objects(judge, meaning, None)
  assert not labels[:, REFERENT].any()


def test_cells_have_the_roles_of_what_their_centre_shows(clips):
  clip = clips[0]
  judge = predicates.Judge(clip.facts)
  objects = [
    role_labels.label_objects(judge, e.meaning, e.object_index)
    for e in clip.expressions
  ]
  maps = role_labels.label_cells(clip.masks, objects, (8, 32))
  assert [x.shape for x in maps] == [
    (len(objects), 3, 64 // s, 96 // s, 3) for s in (8, 32)
  ]
  for e, roles in enumerate(objects):
    for t, y, x in np.ndindex(3, 8, 12):
      shown = clip.masks[:, t, 8 * y + 4, 8 * x + 4]
      row = shown.argmax() + 1 if shown.any() else 0
      np.testing.assert_array_equal(maps[0][e, t, y, x], roles[row])
