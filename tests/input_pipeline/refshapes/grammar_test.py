"""Sentences: true of their object, of no other, and varied.

Where it can be done, truth is judged again here from the words and the
masks alone, without the predicates that made the sentence.
"""

import collections
import re

import numpy as np
import pytest

from sgmg_jax.input_pipeline.refshapes import (
  dataset,
  grammar,
  lexicon,
  predicates,
)
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

SIDE = 96


@pytest.fixture(scope="module")
def clips():
  return [
    dataset.generate_clip(split, index, num_frames=6, height=SIDE, width=SIDE)
    for split in ("train", "test")
    for index in range(120)
  ]


@pytest.fixture(scope="module")
def pairs(clips):
  return [(clip, e) for clip in clips for e in clip.expressions]


def _seen(clip, index, share=0.6):
  """Frames in which an object shows that part of its largest area."""
  areas = clip.masks[index].sum((1, 2))
  return np.flatnonzero(areas > share * areas.max())


def _centroid(clip, index, t):
  rows, columns = np.nonzero(clip.masks[index, t])
  return np.array([columns.mean(), rows.mean()]) / SIDE


def _words_of(attribute, value):
  if attribute == "shape":
    words = lexicon.SHAPE_NOUNS[value]
    return {*words, *(lexicon.PLURALS.get(w, w + "s") for w in words)}
  return set(lexicon.COLOUR_WORDS.get(value, (value,)))


def _looks_named(text):
  """{attribute: value} read from the words."""
  text = text.replace("in a circle", "")
  return {
    attribute: value
    for attribute, values in (
      ("colour", scene_lib.COLOURS),
      ("shape", scene_lib.SHAPES),
    )
    for value in values
    for word in _words_of(attribute, value)
    if re.search(rf"\b{word}\b", text)
  }


def _fitting(clip, looks):
  return [
    i
    for i, body in enumerate(clip.scene.bodies)
    if all(getattr(body, k) == v for k, v in looks.items())
  ]


def test_every_sentence_is_clearly_true_of_its_object_alone(pairs):
  for clip, expression in pairs:
    judge = predicates.Judge(clip.facts)
    verdict = judge.verdict(expression.meaning)
    holders = [i for i in range(len(clip.masks)) if verdict.yes >> i & 1]
    rejected = [i for i in range(len(clip.masks)) if verdict.no >> i & 1]
    assert holders == [expression.object_index], expression
    assert len(rejected) == len(clip.masks) - 1, expression


def test_words_name_the_looks_of_the_object(pairs):
  for clip, expression in pairs:
    if expression.kind == "relation":
      continue  # Names a second object's looks too.
    body = clip.scene.bodies[expression.object_index]
    for attribute, value in _looks_named(expression.text).items():
      assert getattr(body, attribute) == value, expression


def test_appearance_fits_no_other_object_by_its_words(pairs):
  textures = {
    "plain": r"\bplain\b",
    "striped": r"\bstrip",
    "dotted": r"dot|spot",
    "checkered": r"\bcheckered\b",
  }
  for clip, expression in pairs:
    if expression.kind != "appearance":
      continue
    looks = _looks_named(expression.text)
    for texture, pattern in textures.items():
      if re.search(pattern, expression.text):
        looks["texture"] = texture
    assert _fitting(clip, looks) == [expression.object_index], expression


@pytest.mark.parametrize(
  "pattern,axis,sign",
  [
    (r"(ing|s) (to the |towards the )?(left|leftwards)$", 0, -1),
    (r"(ing|s) (to the |towards the )?(right|rightwards)$", 0, 1),
    (r"(ing|s) (up|upwards|towards the top)$", 1, -1),
    (r"(ing|s) (down|downwards|towards the bottom)$", 1, 1),
  ],
)
def test_directions_agree_with_the_track_of_the_mask(
  pairs, pattern, axis, sign
):
  checked = 0
  for clip, expression in pairs:
    if expression.kind != "motion" or not re.search(pattern, expression.text):
      continue
    if "bounc" in expression.text:
      continue  # "bouncing up and down" has no direction.
    frames = _seen(clip, expression.object_index, share=0.3)
    first, last = (
      _centroid(clip, expression.object_index, t) for t in frames[[0, -1]]
    )
    # Half-hidden ends shorten the track: ask for half of its true length.
    travel = (last - first) * sign
    assert travel[axis] > 0.1, expression
    assert travel[axis] > abs(travel[1 - axis]), expression
    checked += 1
  assert checked >= 10


def test_still_objects_keep_their_pixels(pairs):
  checked = 0
  for clip, expression in pairs:
    if not any(p.name == "still" for p in expression.meaning):
      continue
    frames = _seen(clip, expression.object_index)
    track = [_centroid(clip, expression.object_index, t) for t in frames]
    assert np.ptp(track, axis=0).max() < 0.08, expression
    checked += 1
  assert checked >= 20


def test_size_comparisons_agree_with_areas(pairs):
  checked = 0
  for clip, expression in pairs:
    match = re.match(
      r"the (larger|bigger|smaller|largest|biggest|smallest)", expression.text
    )
    if not match:
      continue
    larger = not match[1].startswith("small")
    # The largest area an object ever shows is close to the whole.
    areas = clip.masks.sum((2, 3)).max(1)
    own = areas[expression.object_index]
    looks = {
      p.name: p.value
      for p in expression.meaning
      if p.name != "most" and p.name != "least"
    }
    for i in _fitting(clip, looks):
      whole = areas[i] > 0.9 * _whole_area(clip, i)
      if i != expression.object_index and whole and areas[i]:
        if larger:
          assert own > areas[i], expression
        elif own > 0.9 * _whole_area(clip, expression.object_index):
          assert own < areas[i], expression
        checked += 1
  assert checked >= 20


def _whole_area(clip, index):
  body = clip.scene.bodies[index]
  return 2.5 * (body.radius * SIDE * max(body.motion.scale)) ** 2


def test_growing_masks_grow(pairs):
  checked = 0
  for clip, expression in pairs:
    names = {p.name for p in expression.meaning}
    if not names & {"grows", "shrinks"}:
      continue
    share = clip.facts.share[expression.object_index]
    frames = np.flatnonzero(share > 0.9)
    if len(frames) < 3:
      continue
    areas = clip.masks[expression.object_index].sum((1, 2))[frames]
    assert (areas[-1] > areas[0]) == ("grows" in names), expression
    checked += 1
  assert checked >= 10


@pytest.mark.parametrize(
  "words,axis,sign",
  [
    (("left of",), 0, -1),
    (("right of",), 0, 1),
    (("above", "higher than"), 1, -1),
    (("below", "under", "lower than"), 1, 1),
  ],
)
def test_relations_agree_with_centroids(pairs, words, axis, sign):
  checked = 0
  for clip, expression in pairs:
    found = [w for w in words if f" {w} the " in expression.text]
    if expression.kind != "relation" or not found:
      continue
    other_text = expression.text.split(f" {found[0]} the ")[1]
    looks = _looks_named(other_text)
    others = _fitting(clip, looks)
    if len(others) != 1:
      continue  # Told apart by texture.
    both = set(_seen(clip, expression.object_index)) & set(
      _seen(clip, others[0])
    )
    for t in both:
      gap = _centroid(clip, expression.object_index, t) - _centroid(
        clip, others[0], t
      )
      assert gap[axis] * sign > 0, expression
      checked += 1
  assert checked >= 5


def test_order_agrees_with_when_masks_appear(pairs):
  checked = collections.Counter()
  for clip, expression in pairs:
    shown = clip.masks[expression.object_index].any((1, 2))
    names = {p.name for p in expression.meaning}
    if "enters" in names:
      assert not shown[0] and shown.any(), expression
    if "leaves" in names:
      assert not shown[-1] and shown.any(), expression
    if "stays" in names:
      assert shown.all(), expression
    checked.update(names & {"enters", "leaves", "stays"})
  assert min(checked[k] for k in ("enters", "leaves", "stays")) >= 10


def test_kinds_words_and_lengths(clips, pairs):
  kinds = collections.Counter(e.kind for _, e in pairs)
  assert set(kinds) == set(grammar.KINDS)
  assert min(kinds.values()) >= 0.08 * sum(kinds.values()), kinds
  words = {w for _, e in pairs for w in e.text.split()}
  assert len(words) > 150
  for _, expression in pairs:
    text = expression.text
    assert re.fullmatch(r"[a-z ]+", text)
    assert len(text.split()) <= grammar.MAX_WORDS
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text), text
  texts = [len({e.text for e in c.expressions}) for c in clips]
  assert texts == [len(c.expressions) for c in clips]


def test_most_objects_get_two_sentences_or_more(clips):
  described = total = 0
  for clip in clips:
    counts = collections.Counter(e.object_index for e in clip.expressions)
    assert max(counts.values(), default=0) <= 4
    described += sum(n >= 2 for n in counts.values())
    total += int(clip.masks.any((1, 2, 3)).sum())
  assert described > 0.9 * total


def test_the_key_is_mostly_needed(pairs):
  """Looks alone do not identify the object of most other sentences."""
  needed = []
  for clip, expression in pairs:
    if expression.kind != "appearance":
      looks = tuple(
        p
        for p in expression.meaning
        if p.name in ("shape", "colour", "texture")
      )
      judge = predicates.Judge(clip.facts)
      needed.append(not judge.identifies(looks, expression.object_index))
  assert np.mean(needed) > 0.6
