"""All queries of an annotated frame."""

import pathlib

import jax
import numpy as np
import pytest

import sgmg_jax
from sgmg_jax import errors
from sgmg_jax.inference import (
  annotated_frame,
  expression_groups,
  preprocess,
  stages,
)
from sgmg_jax.model import sgmg

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "eval"
SENTENCES = ["a red ball rolling left", "the dog", "a small cat"]


@pytest.fixture(scope="module")
def model(mu_checkpoint):
  return sgmg_jax.load(mu_checkpoint)


@pytest.fixture(scope="module")
def clip():
  rng = np.random.RandomState(0)
  low = rng.randint(0, 256, (4, 6, 8, 3), np.uint8)
  return low.repeat(24, 1).repeat(20, 2)  # 144x160


@pytest.mark.slow
def test_equals_the_model_run_by_hand(model, clip):
  found = model.detect(clip, 1, SENTENCES[:1], threshold=0.4)
  pixels = ((clip / 255.0 - preprocess.MEAN) / preprocess.STD)[None]
  # To a multiple of 32, as released for such frames.
  pixels = np.pad(pixels, [(0, 0), (0, 0), (0, 16), (0, 0), (0, 0)])
  ids = np.array([model._tokenizer(SENTENCES[0])["input_ids"]])
  net = sgmg.SgMg(variant=model.variant)

  def all_queries(net, pixels, ids):
    stages = net.backbone_0(pixels)
    stages = [x[:, 1:2] for x in stages]
    valid = np.ones((1, 160, 160), bool)
    valid[:, 144:] = False
    size = np.array([[144, 160]])
    video = net.project(stages, valid, size, 1)
    text = net.encode_text(ids, np.ones(ids.shape, bool))
    decoded = net.transform(net.fuse(video, text), video, text)
    patches = net.patch_masks(decoded, video)
    masks = [net.refine(patches[:, :, q], video) for q in range(5)]
    return decoded, masks

  apply = jax.jit(
    lambda *x: net.apply({"params": model.params}, *x, method=all_queries)
  )
  decoded, masks = apply(pixels.astype(np.float32), ids)
  logits = np.stack([np.asarray(m)[0, 0, :144] for m in masks])
  cut = np.log(0.4 / 0.6)
  clear = np.abs(logits - cut) > 1e-3 * logits.std()
  assert found.masks.shape == (1, 5, 144, 160)
  assert 0.01 < found.masks.mean() < 0.99
  np.testing.assert_array_equal(found.masks[0][clear], (logits > cut)[clear])
  scores = 1 / (1 + np.exp(-np.asarray(decoded.logits[-1, 0, 0])))
  np.testing.assert_allclose(found.scores[0], scores, atol=1e-5)
  cx, cy, w, h = np.asarray(decoded.boxes[-1, 0, 0]).T
  boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)
  boxes *= np.array([160, 144, 160, 144])
  np.testing.assert_allclose(found.boxes[0], boxes, atol=0.02)


@pytest.mark.parametrize("image", [0, 1])
def test_queries_come_out_as_of_the_official_code(image):
  """A2D: scores and masks of all five; RefCOCO: boxes, sorted by score."""
  golden = np.load(GOLDEN / "postprocess_cases.npz")
  logits, masks, boxes = (
    golden[name][image]
    for name in ("a2d_logits", "a2d_mask_logits", "refcoco_boxes_in")
  )
  original, size = (
    tuple(golden[name][image].tolist()) for name in ("a2d_orig", "a2d_size")
  )
  scores = 1 / (1 + np.exp(-logits[..., 0]))
  prepared = annotated_frame.PreparedFrame(
    0, 1, preprocess.Geometry(original, size, masks.shape[-2:]), masks
  )
  (group,) = expression_groups.of_one_size(["a sentence"], 1)
  found = annotated_frame.finish(
    object.__new__(stages.Stages),
    stages.Answer(group, masks, scores, boxes),
    prepared,
  )
  np.testing.assert_allclose(
    found.scores[0], golden[f"a2d_scores_{image}"], atol=1e-6
  )
  np.testing.assert_array_equal(found.masks[0], golden[f"a2d_masks_{image}"])
  order = np.argsort(-found.scores[0])
  np.testing.assert_array_equal(
    found.masks[0][order], golden[f"refcoco_masks_{image}"]
  )
  np.testing.assert_allclose(
    found.boxes[0][order], golden[f"refcoco_boxes_{image}"], atol=1e-4
  )


def test_groups_give_the_same_numbers(model, clip):
  want = model.detect(clip, 3, SENTENCES, group=1)
  got = model.detect(clip, 3, SENTENCES, group=2)
  assert got.masks.shape == (3, 5, 144, 160)
  np.testing.assert_allclose(got.scores, want.scores, atol=1e-5)
  np.testing.assert_allclose(got.boxes, want.boxes, atol=1e-2)
  assert np.mean(got.masks != want.masks) < 1e-4


def test_the_frame_is_seen_with_the_others(model, clip):
  first = model.detect(clip, 1, SENTENCES[:1])
  other = clip.copy()
  other[3] = 0
  second = model.detect(other, 1, SENTENCES[:1])
  assert not np.array_equal(first.scores, second.scores)
  third = model.detect(clip, 2, SENTENCES[:1])
  assert not np.array_equal(first.scores, third.scores)


def test_sides_are_those_of_the_task(model, monkeypatch):
  rules = dict(model.preprocess)
  rules["annotated_frames"] = {"short_side": 144, "long_side": 160}
  rules["images"] = {"short_side": 144, "long_side": 320}
  monkeypatch.setattr(model, "preprocess", rules)
  clip = np.zeros((2, 200, 400, 3), np.uint8)

  sizes = [
    annotated_frame.prepare(model, frames, 0).geometry.size
    for frames in (clip, clip[:1])
  ]
  # 80 pixels would be too few for the coarsest map.
  assert sizes == [(144, 288), (144, 288)]
  rules["annotated_frames"]["short_side"] = 160
  rules["annotated_frames"]["long_side"] = 300
  assert annotated_frame.prepare(model, clip, 0).geometry.size == (150, 300)
  assert annotated_frame.prepare(model, clip[:1], 0).geometry.size == (144, 288)


def test_bad_input_is_one_clear_line(model, clip):
  for match, arguments in (
    (r"frame 4 of a clip: expected 0 to 3", (clip, 4, SENTENCES)),
    (r"clip float64\[4, 144, 160, 3\]: expected uint8", (clip / 1.0, 0, "x")),
    (r"no expressions", (clip, 0, [])),
  ):
    with pytest.raises(errors.UserError, match=match):
      model.detect(*arguments)
