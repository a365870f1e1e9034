"""What golden numbers do not cover: padding in time, dtypes, initial values,
dropout and drop path."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.model import (
  sgmg,
  text_encoder,
  variants,
  video_swin,
  window_attention,
)


def clip(num_frames, height=144, width=160, seed=0):
  random = np.random.RandomState(seed)
  frames = random.standard_normal((1, num_frames, height, width, 3))
  return (
    jnp.asarray(frames, jnp.float32),
    jnp.ones((1, height, width), bool),
    jnp.array([[height, width]]),
  )


# Up to 8 frames are one window, clipped in time; more are padded with zeros
# to whole windows of 8, which shift.
@pytest.mark.slow
@pytest.mark.parametrize("real, padded", [(3, 4), (5, 8), (11, 16)])
def test_padding_in_time_does_not_change_real_frames(
  golden, small_model, real, padded
):
  frames, valid, size = clip(real)
  tokens = jnp.array([[0, 5, 9, 2]])
  inputs = (tokens, tokens != 1)
  expected = small_model("__call__", frames, valid, size, *inputs)
  # What stands in the padding must not matter.
  junk = clip(padded - real, seed=1)[0]
  frames = jnp.concatenate([frames, junk], 1)
  actual = small_model(
    "__call__", frames, valid, size, *inputs, jnp.int32(real)
  )
  (masks, query), decoded = actual
  (expected_masks, expected_query), expected_decoded = expected
  assert query.tolist() == expected_query.tolist()
  golden.close(masks[:, :real], np.asarray(expected_masks))
  golden.close(decoded.logits[:, :, :real], np.asarray(expected_decoded.logits))
  assert np.abs(masks[:, real:]).max() > 0


@pytest.mark.slow
def test_further_expressions_reuse_the_encoded_video(golden, small_model):
  """Repeated features of one clip equal the clip encoded for each."""
  frames, valid, size = clip(2)
  tokens = jnp.array([[0, 5, 9, 2], [0, 7, 2, 1]])
  twice = lambda x: jnp.repeat(x, 2, 0)
  (masks, query), _ = small_model(
    "__call__", twice(frames), twice(valid), twice(size), tokens, tokens != 1
  )
  video = small_model("encode_video", frames, valid, size)
  for i in range(2):
    text = small_model("encode_text", tokens[i : i + 1], tokens[i : i + 1] != 1)
    fused = small_model("fuse", video, text)
    decoded = small_model("transform", fused, video, text)
    alone, alone_query = small_model("segment", decoded, video)
    assert alone_query[0] == query[i]
    golden.close(alone[0], np.asarray(masks[i]), 2e-5)


def test_padding_words_change_nothing(golden, small_model):
  tokens = jnp.array([[0, 5, 9, 2]])
  padded = jnp.array([[0, 5, 9, 2, 1, 1, 1]])
  short = small_model("encode_text", tokens, tokens != 1)
  long = small_model("encode_text", padded, padded != 1)
  golden.close(long.words[:, :4], np.asarray(short.words), 1e-5)
  golden.close(long.word_pos[:, :4], np.asarray(short.word_pos), 1e-5)
  golden.close(long.sentence, np.asarray(short.sentence), 1e-5)


@pytest.mark.slow
def test_bfloat16_stays_near_float32(small_model):
  frames, valid, size = clip(2)
  tokens = jnp.array([[0, 5, 9, 2]])
  args = (frames, valid, size, tokens, tokens != 1)
  (expected_masks, _), expected = small_model("__call__", *args)
  model = sgmg.SgMg(small_model.model.variant, dtype=jnp.bfloat16)
  run = jax.jit(lambda params: model.apply({"params": params}, *args))
  (masks, _), decoded = run(small_model.params)
  assert masks.dtype == decoded.boxes.dtype == jnp.float32
  assert decoded.hidden.dtype == jnp.bfloat16
  error = np.abs(decoded.boxes - expected.boxes)
  # Eight bits, through some twenty layers of random weights.
  assert np.median(error) < 0.02
  both = [np.ravel(x) for x in (masks, expected_masks)]
  assert np.corrcoef(*both)[0, 1] > 0.98
  # What must not be rounded: transforms, norms and every softmax and sigmoid.
  program = str(jax.make_jaxpr(run)(small_model.params))
  found = re.findall(
    r":(\w+)\[[\d,]*\] = (fft|rsqrt|exp|logistic|sin)\b", program
  )
  assert {"fft", "rsqrt", "exp", "logistic", "sin"} == {n for _, n in found}
  assert {dtype for dtype, _ in found} <= {"f32", "c64"}


def test_too_small_frames():
  model = sgmg.SgMg(variants.get_variant("mu"))
  tokens = jnp.ones((1, 4), jnp.int32)
  with pytest.raises(ValueError, match="144 pixels"):
    jax.eval_shape(
      lambda: model.init(jax.random.key(0), *clip(1, 96), tokens, tokens > 0)
    )


@pytest.mark.slow
class TestInitialValues:
  @pytest.fixture(scope="class")
  def params(self):
    model = sgmg.SgMg(variants.get_variant("mu"))
    init = jax.jit(lambda key: sgmg.init_params(model, key))
    return jax.device_get(init(jax.random.key(0)))

  def test_scores_start_at_one_percent(self, params):
    for layer in range(3):
      bias = params[f"class_embed_{layer}"]["bias"]
      np.testing.assert_allclose(1 / (1 + np.exp(-bias)), 0.01, rtol=1e-5)

  def test_boxes_start_small_and_at_their_reference(self, params):
    for layer in range(3):
      last = params[f"bbox_embed_{layer}"]["layers_2"]
      assert not last["kernel"].any()
      expected = [0, 0, -2, -2] if layer == 0 else [0, 0, 0, 0]
      assert last["bias"].tolist() == expected

  def test_sampling_points_start_in_a_ring(self, params):
    layer = params["transformer"]["encoder"]["layers_0"]["self_attn"]
    assert not layer["sampling_offsets"]["kernel"].any()
    bias = layer["sampling_offsets"]["bias"].reshape(8, 4, 4, 2)
    np.testing.assert_allclose(bias[0, 2, 3], [4, 0], atol=1e-6)
    np.testing.assert_allclose(bias[1, 0, 1], [2, 2], atol=1e-6)
    np.testing.assert_allclose(bias[6, 3, 0], [0, -1], atol=1e-6)
    assert not layer["attention_weights"]["kernel"].any()

  def test_embeddings_are_standard_normal(self, params):
    level_embed = params["transformer"]["level_embed"]
    assert level_embed.std() == pytest.approx(1, abs=0.15)

  def test_swin_starts_as_a_convolution(self, params):
    body = params["backbone_0"]["body"]
    kernel = body["layers_3"]["blocks_0"]["mlp"]["fc1"]["kernel"]
    bound = np.sqrt(6 / sum(kernel.shape))
    assert bound * 0.95 < np.abs(kernel).max() <= bound
    block = body["layers_2"]["blocks_1"]["attn"]
    table = block["relative_position_bias_table"]
    bias = table[window_attention.relative_position_index()]
    query = np.ravel_multi_index((3, 3, 3), window_attention.WINDOW)
    places = [
      np.subtract(np.unravel_index(key, window_attention.WINDOW), 3).tolist()
      for key in bias[query].argmax(0)
    ]
    assert places == [[0, 0, 1], [0, 0, -1], [0, 1, 0], [0, -1, 0]]

  def test_shifted_blocks_with_many_heads_start_looking_in_time(self):
    table = window_attention.neighbour_bias(
      jax.random.key(0), (15 * 13 * 13, 8), in_time=True
    )
    bias = np.asarray(table)[window_attention.relative_position_index()]
    query = np.ravel_multi_index((3, 3, 3), window_attention.WINDOW)
    keys = bias[query].argmax(0)[4:]
    places = [np.unravel_index(key, window_attention.WINDOW) for key in keys]
    assert [int(t) - 3 for t, _, _ in places] == [1, -1, 2, -2]
    assert all(place[1:] == (3, 3) for place in places)

  def test_xavier_and_pytorch_defaults(self, params):
    kernel = params["controller"]["layers_0"]["kernel"]
    bound = np.sqrt(6 / (64 + 64))
    assert bound * 0.95 < np.abs(kernel).max() <= bound
    kernel = params["mask_refine"]["conv1_1div8"]["kernel"]
    bound = 1 / np.sqrt(np.prod(kernel.shape[:3]))
    assert bound * 0.95 < np.abs(kernel).max() <= bound

  def test_mini_is_small(self):
    model = sgmg.SgMg(variants.get_variant("mini"))
    shapes = jax.eval_shape(lambda: sgmg.init_params(model, jax.random.key(0)))
    assert sum(x.size for x in jax.tree.leaves(shapes)) <= 4e6


def test_drop_path_drops_whole_clips_and_rescales():
  block = video_swin.Block(num_heads=2, shifted=False, drop_path=0.5)
  x = jnp.ones((64, 2, 4, 4, 8)) * jnp.arange(8)
  params = block.init(jax.random.key(0), x, None)["params"]
  params = jax.tree.map(lambda p: p + 0.1, params)
  mlp_off = jax.tree.map(jnp.zeros_like, params["mlp"])
  variables = {"params": params | {"mlp": mlp_off}}
  full = block.apply(variables, x, None) - x
  rngs = {"drop_path": jax.random.key(1)}
  dropped = block.apply(variables, x, None, train=True, rngs=rngs) - x
  kept = jnp.abs(dropped).max((1, 2, 3, 4)) > 0
  assert 16 < kept.sum() < 48
  np.testing.assert_allclose(dropped[kept], 2 * full[kept], rtol=1e-4)


def test_dropout_only_in_training():
  resizer = text_encoder.FeatureResizer(16, dropout=0.5)
  x = jax.random.normal(jax.random.key(0), (4, 8))
  variables = resizer.init(jax.random.key(1), x)
  still = resizer.apply(variables, x)
  rngs = {"dropout": jax.random.key(2)}
  noisy = resizer.apply(variables, x, train=True, rngs=rngs)
  off = noisy == 0
  assert 0.2 < off.mean() < 0.8
  np.testing.assert_allclose(noisy[~off], 2 * still[~off], rtol=1e-5)


def test_relative_position_index_by_hand():
  index = window_attention.relative_position_index()
  assert index.shape == (392, 392)
  # Same token; next column; next row; next frame.
  assert index[0, 0] == 7 * 169 + 6 * 13 + 6
  assert index[1, 0] - index[0, 0] == 1
  assert index[7, 0] - index[0, 0] == 13
  assert index[49, 0] - index[0, 0] == 169
