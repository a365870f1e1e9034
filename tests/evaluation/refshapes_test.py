"""Evaluation on RefShapes."""

import numpy as np
import pytest

from sgmg_jax.checkpoints import native
from sgmg_jax.evaluation import refshapes
from sgmg_jax.inference import clip_predictor as clip_predictor_lib
from sgmg_jax.inference import predictor
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.model import sgmg

CLIPS = dict(split="val", num_clips=3, num_frames=3, height=64, width=64)


def _truth_of(index, expressions):
  clip = dataset.generate_clip("val", index, num_frames=3, height=64, width=64)
  assert [e.text for e in clip.expressions] == list(expressions)
  return np.stack([clip.masks[e.object_index] for e in clip.expressions])


def _evaluate(make_masks):
  calls = iter(range(3))
  done = []
  results = refshapes.evaluate(
    lambda frames, expressions: make_masks(next(calls), expressions),
    progress=done.append,
    **CLIPS,
  )
  assert sum(done) == 3
  return results


def test_perfect_masks_score_100_and_swapped_ones_do_not():
  results = _evaluate(_truth_of)
  assert results["j"] == results["f"] == results["j_and_f"] == 100.0
  assert results["swapped"] < 45
  kinds = [k for k in results if k.startswith("j_and_f/")]
  assert len(kinds) >= 4 and all(results[k] == 100.0 for k in kinds)


def test_a_model_that_does_not_listen_scores_the_same_swapped():
  def first_object(index, expressions):
    truth = _truth_of(index, expressions)
    return np.repeat(truth[:1], len(truth), axis=0)

  results = _evaluate(first_object)
  assert results["j_and_f"] < 70
  assert results["swapped"] == pytest.approx(results["j_and_f"])


def test_score_is_the_mean_over_frames_in_percent():
  truth = np.zeros((2, 40, 40), bool)
  truth[:, 10:20, 10:20] = True
  pred = truth.copy()
  pred[1] = False
  assert refshapes.score(pred, truth) == (50.0, 50.0)


def test_grouped_masks_are_the_public_predictors(mu_checkpoint):
  checkpoint = native.load(mu_checkpoint)
  # More sentences than one group, and a last group that is not full.
  expressions = ["the red ball", "a small circle moving left", "square"]
  frames = np.random.RandomState(0).randint(0, 256, (3, 144, 150, 3), np.uint8)
  clip_predictor = clip_predictor_lib.ClipPredictor(
    sgmg.SgMg(checkpoint.variant), checkpoint.tokenizer, max_tokens=12, group=2
  )
  actual = clip_predictor.with_params(checkpoint.params)(frames, expressions)
  expected = predictor.Predictor(checkpoint).segment(frames, expressions).masks
  assert actual.shape == expected.shape == (3, 3, 144, 150)
  assert expected.any() and not expected.all()
  assert (actual != expected).mean() < 1e-4
