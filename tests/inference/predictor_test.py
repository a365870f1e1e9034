"""The predictor on a random tiny model: one answer by every way of asking."""

import dataclasses
import itertools
import pathlib

import jax
import numpy as np
import pytest

import sgmg_jax
from sgmg_jax import errors
from sgmg_jax.checkpoints import native
from sgmg_jax.inference import memory_estimate, preprocess
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.inference import predictor as predictor_lib
from sgmg_jax.model import sgmg

EXPRESSIONS = ["a red ball rolling left", "the dog"]


@pytest.fixture(scope="module")
def model(mu_checkpoint):
  return sgmg_jax.load(mu_checkpoint)


@pytest.fixture(scope="module")
def frames():
  rng = np.random.RandomState(0)
  low = rng.randint(0, 256, (11, 6, 8, 3), np.uint8)
  return low.repeat(25, 1).repeat(20, 2)  # 11 frames of 150x160


def test_shapes_and_ranges(model, frames):
  result = model.segment(frames[:8], EXPRESSIONS)
  assert result.masks.shape == (2, 8, 150, 160)
  assert result.masks.dtype == bool
  assert result.scores.shape == (2, 8) and result.boxes.shape == (2, 8, 4)
  assert np.all((result.scores > 0) & (result.scores < 1))
  assert np.all(result.boxes >= 0)
  assert np.all(result.boxes[..., [0, 2]] <= 160)
  assert np.all(result.boxes[..., [1, 3]] <= 150)
  assert np.all(result.boxes[..., :2] <= result.boxes[..., 2:])
  assert not np.array_equal(result.scores[0], result.scores[1])
  assert 0.01 < result.masks.mean() < 0.99


@pytest.mark.slow
def test_equals_the_model_run_by_hand(model, mu_checkpoint, frames):
  """No padding, no buckets: T = 8, 144 x 160 as they are."""
  clip = frames[:8, :144]
  result = model.segment(clip, EXPRESSIONS[:1], threshold=0.3)
  pixels = (clip / 255.0 - preprocess.MEAN) / preprocess.STD
  pixels = pixels[None].astype(np.float32)
  ids = np.array([model._tokenizer(EXPRESSIONS[0])["input_ids"]])
  net = sgmg.SgMg(variant=model.variant)
  (logits, query), decoded = jax.jit(net.apply)(
    {"params": model.params},
    pixels,
    np.ones((1, 144, 160), bool),
    np.array([[144, 160]]),
    ids,
    np.ones(ids.shape, bool),
  )
  logits, query = np.asarray(logits[0]), int(query[0])
  cut = np.log(0.3 / 0.7)
  clear = np.abs(logits - cut) > 1e-3 * logits.std()
  np.testing.assert_array_equal(result.masks[0][clear], (logits > cut)[clear])
  scores = 1 / (1 + np.exp(-np.asarray(decoded.logits[-1, 0, :, query])))
  np.testing.assert_allclose(result.scores[0], scores, atol=1e-5)
  centre_x = np.asarray(decoded.boxes[-1, 0, :, query, 0]) * 160
  whole = (result.boxes[0, :, 0] > 0) & (result.boxes[0, :, 2] < 160)
  got = result.boxes[0, :, [0, 2]].mean(0)
  np.testing.assert_allclose(got[whole], centre_x[whole], atol=0.02)


def test_boxes_are_relative_to_the_unpadded_clip(model, frames):
  """144 x 153 pixels in 144 x 160: x tells the padded size from the other."""
  encoded = model.encode(frames[:8])
  assert encoded.geometry.size == (144, 153)
  text = model.encode_texts(EXPRESSIONS[:1], group=1)[0].features
  boxes = model.programs.query(model.params, encoded.clips[0][0], text)[2][0]
  got = model.query(encoded, EXPRESSIONS[:1]).boxes[0]
  inside = (got[:, 0] > 0) & (got[:, 2] < 160)
  assert inside.any()
  centres = got[inside][:, [0, 2]].mean(1)
  np.testing.assert_allclose(centres, np.asarray(boxes)[inside, 0] * 160, 1e-4)


def test_query_of_an_encoded_video_gives_the_same_numbers(model, frames):
  want = model.segment(frames[:8], EXPRESSIONS)
  encoded = model.encode(frames[:8])
  for got in (
    model.query(encoded, EXPRESSIONS),
    model.query(encoded, EXPRESSIONS),
  ):
    np.testing.assert_array_equal(got.masks, want.masks)
    np.testing.assert_array_equal(got.scores, want.scores)
    np.testing.assert_array_equal(got.boxes, want.boxes)
  # And so does each sentence alone, also as a plain string.
  alone = model.query(encoded, EXPRESSIONS[1])
  np.testing.assert_array_equal(alone.masks[0], want.masks[1])


def test_windows_and_streams_give_the_same_numbers(model, frames):
  want = model.segment(frames, EXPRESSIONS, window=4)
  encoded = model.query(model.encode(frames, window=4), EXPRESSIONS)
  np.testing.assert_array_equal(encoded.masks, want.masks)
  steps = list(model.stream(iter(frames), EXPRESSIONS, window=4))
  assert [step.start for step in steps] == [0, 4, 8]
  assert [len(step.frames) for step in steps] == [4, 4, 3]
  np.testing.assert_array_equal(steps[2].frames[-1], frames[10])
  masks = np.concatenate([step.masks for step in steps], 1)
  np.testing.assert_array_equal(masks, want.masks)
  # A window is a clip of its own.
  part = model.segment(frames[4:8], EXPRESSIONS)
  np.testing.assert_array_equal(part.scores, want.scores[:, 4:8])


def test_stream_is_read_as_its_results_are_taken(model, frames):
  drawn = []
  endless = (
    drawn.append(index) or frames[index % 11] for index in itertools.count()
  )
  stream = model.stream(endless, EXPRESSIONS[:1])  # the card's window, 8
  for _ in range(3):
    next(stream)
  assert 24 <= len(drawn) <= 24 + 1


def test_one_compilation_serves_other_lengths_and_sentences(
  model, mu_checkpoint, frames
):
  model.segment(frames[:3], EXPRESSIONS[:1])
  query = model.programs.query
  encode = model.programs.encode_video
  before = len(query), len(encode)
  model.segment(frames[:4], EXPRESSIONS + ["the small cat"])
  other = sgmg_jax.load(mu_checkpoint)
  other.segment(frames[4:7], ["a large white square on the right"])
  assert other.programs is model.programs
  assert (len(query), len(encode)) == before


@pytest.mark.slow
def test_padding_in_time_does_not_change_real_frames(
  model, frames, monkeypatch
):
  """3 frames run in the bucket of 4."""
  padded = model.segment(frames[:3], EXPRESSIONS)
  monkeypatch.setattr(preprocess, "time_bucket", lambda num_frames: num_frames)
  exact = model.segment(frames[:3], EXPRESSIONS)
  np.testing.assert_allclose(padded.scores, exact.scores, atol=1e-5)
  np.testing.assert_allclose(padded.boxes, exact.boxes, atol=1e-2)
  assert np.mean(padded.masks != exact.masks) < 1e-4


@pytest.mark.parametrize("height, width", [(37, 41), (9, 10)])
def test_any_size_and_a_single_image(model, height, width):
  image = np.random.RandomState(0).randint(
    0, 256, (1, height, width, 3), np.uint8
  )
  result = model.segment(image, EXPRESSIONS[:1])
  assert result.masks.shape == (1, 1, height, width)


def test_sizes_and_thresholds_leave_nothing_behind(model, frames):
  """Each once had a program of its own, of 2 MB."""
  counts = [len(step) for step in vars(model.programs).values()]
  for index in range(4):
    # One size for the model, whatever the video's.
    clip = frames[:4].repeat(index + 1, 1).repeat(index + 1, 2)
    model.segment(clip, EXPRESSIONS[:1], threshold=0.3 + index / 10)
  assert [len(step) for step in vars(model.programs).values()] == counts


def test_numbers_that_are_not_finite_stop_it(mu_checkpoint, frames):
  checkpoint = native.load(mu_checkpoint)
  heads = [k for k in checkpoint.params if k.startswith("class_embed_")]
  head = dict(checkpoint.params[max(heads)])
  for bad in (np.nan, np.inf, -np.inf):
    changed = head | {"bias": np.full_like(head["bias"], bad)}
    params = {**checkpoint.params, max(heads): changed}
    broken = predictor_lib.Predictor(
      dataclasses.replace(checkpoint, params=params)
    )
    with pytest.raises(errors.UserError, match="checkpoint mu: .* not finite"):
      broken.segment(frames[:4], EXPRESSIONS[:1])


def test_one_pass_or_windows_is_logged(model, frames, monkeypatch, caplog):
  caplog.set_level("INFO")
  model.segment(frames[:8], EXPRESSIONS[:1])
  assert "one pass of 8 frames" in caplog.text
  monkeypatch.setattr(memory_estimate, "free_bytes", lambda device: 0)
  caplog.clear()
  model.segment(frames, EXPRESSIONS[:1])
  assert "windows of 8 frames" in caplog.text
  assert "8 frames of 153x144 at once need about 0.3 GB" in caplog.text


def test_a_dtype_of_no_computation_is_refused(mu_checkpoint):
  for dtype in ("float3", "int32"):
    with pytest.raises(errors.UserError, match="dtype: expected float32 or"):
      predictor_lib.load(mu_checkpoint, dtype)


def test_folder_and_memory_agree(model, frames, tmp_path):
  done = []
  summary = model.segment_to_folder(
    frames, EXPRESSIONS, tmp_path / "out", window=4, progress=done.append
  )
  want = model.segment(frames, EXPRESSIONS, window=4)
  assert summary.num_frames == 11
  np.testing.assert_allclose(summary.scores, want.scores.mean(1), rtol=1e-5)
  assert sum(done) == pytest.approx(11)
  assert done[0] == 0 and len(done) == 10


def test_bad_input_is_one_clear_line(model, frames):
  def check(match, *args, **kwargs):
    with pytest.raises(errors.UserError, match=match) as caught:
      model.segment(*args, **kwargs)
    assert "\n" not in str(caught.value)

  check("no expressions", frames, [])
  check("is empty", frames, ["the dog", "  "])
  check("window 0", frames, EXPRESSIONS, window=0)
  check("window 1.5", frames, EXPRESSIONS, window=1.5)
  check("window '8'", frames, EXPRESSIONS, window="8")
  check("threshold 1.0", frames, EXPRESSIONS, threshold=1.0)
  check("threshold '0.5'", frames, EXPRESSIONS, threshold="0.5")
  check("expressions of type NoneType", frames, None)
  check("expression 1: expected a sentence", frames, [1])
  check("no such file", "missing.mp4", EXPRESSIONS)
  with pytest.raises(errors.UserError, match=r"query of str: .*segment\(video"):
    model.query("x.mp4", EXPRESSIONS)


def test_over_long_sentence_loses_its_end_with_a_warning(model, caplog):
  texts = model.encode_texts(["dog " * 40, "dog " * 36], group=1)
  assert "42 tokens, the model takes 38" in caplog.text
  first, second = (text.features.sentence for text in texts)
  np.testing.assert_array_equal(first, second)


def test_pixels_that_are_not_square_are_stretched(model):
  cases = pathlib.Path(__file__).parents[1] / "video_cases"
  reader = video_lib.open_video(cases / "sar2.mp4")
  geometry = model.geometry(reader)
  assert geometry.original == (160, 240), "masks have the stored size"
  square = video_lib.open_video(np.zeros((1, 160, 480, 3), np.uint8))
  assert geometry.size == model.geometry(square).size


@pytest.mark.parametrize("group", [2, 3, 8])
def test_groups_of_sentences_give_the_same_numbers(model, frames, group):
  sentences = [*EXPRESSIONS, "a small cat"]
  want = model.segment(frames[:4], sentences, group=1)
  got = model.segment(frames[:4], sentences, group=group)
  np.testing.assert_allclose(got.scores, want.scores, atol=1e-5)
  np.testing.assert_allclose(got.boxes, want.boxes, atol=1e-2)
  assert got.masks.shape == want.masks.shape
  assert np.mean(got.masks != want.masks) < 1e-4


def test_a_group_serves_any_number_of_sentences(model, frames):
  model.segment(frames[:4], EXPRESSIONS, group=4)
  before = len(model.programs.query), len(model.programs.encode_text)
  model.segment(frames[:4], ["the dog"] * 7, group=4)
  after = len(model.programs.query), len(model.programs.encode_text)
  assert after == before


def test_devices_give_the_same_numbers(model, mu_checkpoint, frames):
  second = jax.local_devices()[1]
  other = predictor_lib.Predictor(native.load(mu_checkpoint), device=second)
  clip = next(other.prepare(frames[:4]))
  assert other.encode_clip(clip).levels[0].devices() == {second}
  want = model.segment(frames[:4], EXPRESSIONS)
  np.testing.assert_array_equal(
    other.segment(frames[:4], EXPRESSIONS).masks, want.masks
  )


def test_other_parameters_compile_nothing(model, mu_checkpoint, frames):
  want = model.segment(frames[:4], EXPRESSIONS)
  before = len(model.programs.query)
  checkpoint = native.load(mu_checkpoint)
  zeros = jax.tree.map(np.zeros_like, checkpoint.params)
  other = predictor_lib.Predictor(dataclasses.replace(checkpoint, params=zeros))
  assert other.segment(frames[:4], EXPRESSIONS).scores == pytest.approx(0.5)
  again = predictor_lib.Predictor(checkpoint).segment(frames[:4], EXPRESSIONS)
  np.testing.assert_array_equal(again.masks, want.masks)
  assert len(model.programs.query) == before


def test_probabilities_are_those_of_the_masks(model, frames):
  texts = model.encode_texts(EXPRESSIONS, group=2)
  clip = next(model.prepare(frames[:3]))
  (answer,) = model.ask(model.encode_clip(clip), texts)
  found = model.probabilities(answer.ready(), clip)
  masks, *_ = model.finish(answer, clip, threshold=0.4)
  assert found.shape == masks.shape == (2, 3, 150, 160)
  clear = np.abs(found - 0.4) > 1e-4
  np.testing.assert_array_equal((found > 0.4)[clear], masks[clear])
