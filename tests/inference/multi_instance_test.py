"""Fast SgMg from sentences to masks, against the model itself."""

import jax
import numpy as np
import pytest

import sgmg_jax
from sgmg_jax import tokenizer
from sgmg_jax.checkpoints import native
from sgmg_jax.errors import UserError
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.model import sgmg

SENTENCES = (
  "the topmost object",
  "the leftmost object",
  "The topmost  object",
  "the yellow object",
)
SIDE = 160


@pytest.fixture(scope="module")
def frames():
  return dataset.generate_clip("test", 3, num_frames=2).frames


@pytest.fixture(scope="module")
def by_hand(fast_sgmg, frames):
  """Sentences -> masks bool[E, T, H, W] and scores float[E, T], as one group
  without any filling."""
  words = native.load("refshapes-mini").tokenizer
  model = sgmg.SgMg(fast_sgmg.variant)
  size = np.array([[SIDE, SIDE]])

  @jax.jit
  def run(params, tokens, valid):
    pixels, shown = preprocess.normalise(frames[None], size)
    (masks, _), decoded = model.apply(
      {"params": params}, pixels, shown, size, tokens, valid
    )
    # `mini` has one query.
    return masks > 0, jax.nn.sigmoid(decoded.logits[-1][..., 0])

  def segment(*sentences):
    # As long as the predictor makes them.
    tokens, valid = tokenizer.encode(words, sentences, 16)
    pad = [(0, 0), (0, 16 - tokens.shape[1])]
    return run(fast_sgmg.params, np.pad(tokens, pad), np.pad(valid, pad))

  return segment


def _same(got, want):
  """The same masks but for pixels at the threshold, and the same scores."""
  masks, scores = want
  assert got.masks.shape == masks.shape
  assert np.mean(got.masks != masks) < 1e-4
  np.testing.assert_allclose(got.scores, scores, atol=1e-4)


def test_distinct_sentences_are_seen_together(fast_sgmg, frames, by_hand):
  """Three of four, in a program for four."""
  found = fast_sgmg.segment(frames, SENTENCES)
  want = by_hand(SENTENCES[0], SENTENCES[1], SENTENCES[3])
  rows = np.array([0, 1, 0, 2])
  _same(found, [np.asarray(x)[rows] for x in want])
  assert np.array_equal(found.masks[0], found.masks[2])
  assert found.scores[0].tolist() == found.scores[2].tolist()
  encoded = fast_sgmg.encode(frames)
  again = fast_sgmg.query(encoded, SENTENCES)
  assert np.array_equal(again.masks, found.masks)
  (streamed,) = fast_sgmg.stream(iter(frames), SENTENCES, window=2)
  _same(streamed, (found.masks, found.scores))


def test_a_group_of_one_is_alone(fast_sgmg, frames, by_hand):
  found = fast_sgmg.segment(frames, SENTENCES[:2], group=1)
  assert found.masks.any((1, 2, 3)).all()
  each = [by_hand(sentence) for sentence in SENTENCES[:2]]
  _same(found, [np.concatenate(x) for x in zip(*each)])
  together = fast_sgmg.segment(frames, SENTENCES[:2])
  assert np.abs(together.scores - found.scores).max() > 1e-3


def test_more_than_its_card_allows_are_split(fast_sgmg, frames):
  many = [f"the {c} circle" for c in ("red", "blue", "green", "grey")]
  many += ["the star", "the square", "the heart"]
  found = fast_sgmg.segment(frames, many)
  first = fast_sgmg.segment(frames, many[:4])
  rest = fast_sgmg.segment(frames, many[4:])
  assert np.array_equal(found.masks, np.concatenate([first.masks, rest.masks]))
  with pytest.raises(UserError, match="sees at most 6 sentences together"):
    fast_sgmg.segment(frames, many, group=7)


def test_all_queries_of_a_frame_see_the_same_group(fast_sgmg, frames):
  found = fast_sgmg.detect(frames, 0, SENTENCES)
  assert found.masks.shape[0] == 4
  assert np.array_equal(found.masks[0], found.masks[2])
  alone = fast_sgmg.detect(frames, 0, SENTENCES[:1])
  assert np.abs(alone.scores[0] - found.scores[0]).max() > 1e-4


def test_the_bundled_one_tells_objects_of_a_clip_apart(frames):
  """One group of two objects: each mask is that of its own sentence."""
  model = sgmg_jax.load("refshapes-mini-fast")
  assert model.card["multi_object"] and model.card["max_group"] == 6
  clip = dataset.generate_clip("test", 3, num_frames=2)
  of_object = {e.text: e.object_index for e in clip.expressions}
  sentences = ("the topmost object", "the yellow object")
  truth = clip.masks[[of_object[sentence] for sentence in sentences]]
  assert truth.any((1, 2, 3)).all()
  masks = model.segment(frames, sentences).masks
  both = np.sum(masks[:, None] & truth[None], (2, 3, 4))
  either = np.sum(masks[:, None] | truth[None], (2, 3, 4))
  overlap = both / either
  assert np.diagonal(overlap).min() > 0.5
  assert overlap[~np.eye(2, dtype=bool)].max() < 0.2
