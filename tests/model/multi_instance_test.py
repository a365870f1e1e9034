"""Fast SgMg: one expression is SgMg, and expressions do not mix but in the
sum (there are no released numbers to compare with)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.bench import model as bench_model
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.model import multi_instance, sgmg, variants
from sgmg_jax.model import vision_language_fusion as fusion_lib
from sgmg_jax.training import operations

SIDE = 144
WORDS = 8
# Of the two clips.
COUNTS = np.array([4, 2])
FILLED = np.arange(4) < COUNTS[:, None]


class Fast:
  """A random Fast SgMg whose decoupling is not zero.

  Attributes:
    initial: its parameters as they are drawn.
    params: the same with other values in place of the zeros.
    video: features of two clips.
  """

  def __init__(self, frames):
    sizes = dict(encoder_layers=1, decoder_layers=1, dropout=0.0)
    variant = variants.get_variant("mu", decouple="features", **sizes)
    self.model = sgmg.SgMg(variant)
    init = functools.partial(sgmg.init_params, self.model)
    self.initial = jax.jit(init)(jax.random.key(0))
    attention = self.initial["decouple_module"]["multihead_attn"]
    random = np.random.RandomState(1)
    # Behind zeros everything would look decoupled.
    out_proj = jax.tree.map(
      lambda x: jnp.asarray(0.5 * random.standard_normal(x.shape), x.dtype),
      attention["out_proj"],
    )
    attention = attention | {"out_proj": out_proj}
    self.params = self.initial | {
      "decouple_module": {"multihead_attn": attention}
    }
    # The second clip is padded on its right.
    size = jnp.array([[SIDE, SIDE], [SIDE, SIDE - 48]])
    valid = jnp.ones((2, SIDE, SIDE), bool).at[1, :, SIDE - 48 :].set(False)
    frames = frames * valid[:, None, ..., None]
    self.video = jax.jit(
      lambda params: self.apply(params, "encode_video", frames, valid, size)
    )(self.params)
    self._run = jax.jit(self._answer)

  def apply(self, params, method, *args):
    return self.model.apply({"params": params}, *args, method=method)

  def clip(self, index):
    """Features of one clip."""
    per_clip = lambda x: x[index : index + 1] if x.ndim else x
    return jax.tree.map(per_clip, self.video)

  def _answer(self, params, video, tokens, token_valid):
    text = self.apply(params, "encode_text", tokens, token_valid)
    fused = self.apply(params, "fuse", video, text)
    decoded = self.apply(params, "transform", fused, video, text)
    masks, query = self.apply(params, "segment", decoded, video)
    return {
      "masks": masks,
      "query": query,
      "logits": decoded.logits[-1],
      "boxes": decoded.boxes[-1],
    }

  def __call__(self, video, tokens, token_valid, expression_valid):
    """All outputs of tokens int[B, E, L], with shapes [B, E, ...]."""
    token_valid = token_valid & expression_valid[..., None]
    out = self._run(self.params, video, _flat(tokens), _flat(token_valid))
    shape = expression_valid.shape
    return {
      k: np.asarray(v).reshape(*shape, *v.shape[1:]) for k, v in out.items()
    }


@pytest.fixture(scope="module")
def inputs():
  """Tokens int[2, 4, L] and their masks; the last words are never valid."""
  random = np.random.RandomState(0)
  tokens = random.randint(4, 100, (2, 4, WORDS))
  valid = np.arange(WORDS) < random.randint(3, WORDS - 1, (2, 4, 1))
  return np.where(valid, tokens, 1), valid


@pytest.fixture(scope="module")
def fast():
  random = np.random.RandomState(0)
  shape = (2, 2, SIDE, SIDE, 3)
  return Fast(random.standard_normal(shape).astype(np.float32))


def _flat(x):
  return x.reshape(-1, x.shape[-1])


def _close(got, want, bound=1e-5, names=("masks", "logits", "boxes")):
  for name in names:
    error = np.abs(got[name] - want[name]).max() / want[name].std()
    assert error <= bound, f"{name}: {error:.1e} of the std"
  assert np.array_equal(got["query"], want["query"])


def _rows(out, b, rows):
  return {k: v[b, rows] for k, v in out.items()}


@pytest.fixture(scope="module")
def both(fast, inputs):
  """Outputs of two clips of four and two expressions."""
  return fast(fast.video, *inputs, FILLED)


def test_clips_with_different_numbers_are_as_alone(fast, inputs, both):
  tokens, valid = inputs
  for b, count in enumerate(COUNTS):
    one = slice(b, b + 1)
    alone = fast(fast.clip(b), tokens[one], valid[one], FILLED[one])
    rows = np.arange(count)
    _close(_rows(alone, 0, rows), _rows(both, b, rows))


def test_answers_follow_their_expressions(fast, inputs, both):
  order = np.array([[2, 0, 3, 1], [1, 0, 2, 3]])
  permuted = [np.take_along_axis(x, order[..., None], 1) for x in inputs]
  out = fast(fast.video, *permuted, FILLED)
  for b, count in enumerate(COUNTS):
    rows = order[b, :count]
    _close(_rows(out, b, np.arange(count)), _rows(both, b, rows))
    # And they do differ.
    assert np.abs(both["masks"][b, 0] - both["masks"][b, 1]).max() > 1e-2


def test_what_only_fills_the_group_changes_nothing(fast, inputs, both):
  tokens, valid = (x.copy() for x in inputs)
  tokens[1, 2:], valid[1, 2:] = 77, True
  junk = fast(fast.video, tokens, valid, FILLED)
  rows = np.arange(2)
  _close(_rows(junk, 1, rows), _rows(both, 1, rows), bound=0)
  # While an expression that counts changes what is said of the others.
  more = fast(fast.video, tokens, valid, np.ones_like(FILLED))
  assert np.abs(more["masks"][1, 0] - both["masks"][1, 0]).max() > 1e-3


def test_padded_words_change_nothing(fast, inputs, both):
  tokens, valid = inputs
  padded = fast(fast.video, np.where(valid, tokens, 55), valid, FILLED)
  for b, count in enumerate(COUNTS):
    rows = np.arange(count)
    _close(_rows(padded, b, rows), _rows(both, b, rows))


def test_padded_frames_change_nothing(fast, inputs):
  """What fills the second frame, which is not real, is not seen."""
  random = np.random.RandomState(3)
  fill = lambda maps: tuple(
    x.at[:, 1].set(random.standard_normal(x[:, 1].shape)) for x in maps
  )
  video = fast.video.replace(num_frames=jnp.int32(1))
  junk = video.replace(
    levels=fill(video.levels), low_levels=fill(video.low_levels)
  )
  outputs = [fast(v, *inputs, FILLED) for v in (video, junk)]
  rest = [{k: out[k][:, :, 1:] for k in out if k != "query"} for out in outputs]
  assert np.abs(rest[0]["logits"] - rest[1]["logits"]).max() > 1e-2
  for out in outputs:
    out.update({k: v[:, :, :1] for k, v in out.items() if k != "query"})
  for b, count in enumerate(COUNTS):
    rows = np.arange(count)
    _close(*(_rows(out, b, rows) for out in outputs))


def test_padded_pixels_change_nothing_behind_the_fusion(fast, inputs):
  """Before it the spectrum, of the padded map, sees them, as SgMg's does."""
  tokens, valid = (_flat(x[1:, :2]) for x in inputs)
  video = fast.clip(1)

  @jax.jit
  def run(params, random):
    text = fast.apply(params, "encode_text", tokens, valid)
    fused = fast.apply(params, "fuse", video, text)
    fused = tuple(
      jnp.where(known[:, None, ..., None], x, random * jnp.cos(x))
      for x, known in zip(fused, video.level_valid, strict=True)
    )
    decoded = fast.apply(params, "transform", fused, video, text)
    return decoded.memory[0], decoded.logits, decoded.boxes

  (memory, *plain), (other, *junk) = (
    run(fast.params, 0.0),
    run(fast.params, 9.0),
  )
  known = video.level_valid[0][0]
  assert np.abs(memory - other)[..., ~known, :].max() > 1
  np.testing.assert_array_equal(memory[..., known, :], other[..., known, :])
  jax.tree.map(np.testing.assert_array_equal, junk, plain)


@pytest.fixture(scope="module")
def single(fast, inputs):
  """(decouple, params) -> what becomes of one clip's first expression."""
  text = _text(fast, inputs, 1)
  video = fast.clip(0)

  def run(decouple, params):
    variant = dataclasses.replace(fast.model.variant, decouple=decouple)
    model = sgmg.SgMg(variant)
    apply = lambda params, method, *args: model.apply(
      {"params": params}, *args, method=method
    )
    fused = lambda params: apply(params, "fuse", video, text)
    return jax.jit(
      lambda params: apply(params, "transform", fused(params), video, text)
    )(params)

  return run


@pytest.fixture(scope="module")
def sgmg_alone(fast, single):
  return single("", _shared(fast.initial))


def _shared(params):
  return {k: v for k, v in params.items() if k != "decouple_module"}


def _text(fast, inputs, count):
  tokens, valid = (x[0, :count] for x in inputs)
  return jax.jit(
    lambda params: fast.apply(params, "encode_text", tokens, valid)
  )(fast.params)


@pytest.mark.parametrize("decouple", ["features", "queries", "none"])
def test_a_single_expression_is_sgmg(fast, single, sgmg_alone, decouple):
  """For what decouples starts with zeros, if anything does."""
  variant = dataclasses.replace(fast.model.variant, decouple=decouple)
  params = _shared(fast.initial) if decouple == "none" else fast.initial
  shapes = jax.eval_shape(
    lambda: sgmg.init_params(sgmg.SgMg(variant), jax.random.key(0))
  )
  assert jax.tree.structure(shapes) == jax.tree.structure(params)
  got = single(decouple, params)
  for a, b in zip(
    jax.tree.leaves(got), jax.tree.leaves(sgmg_alone), strict=True
  ):
    assert np.abs(a - b).max() <= 2e-6 * np.std(b)


class TestSum:
  """Semantic fusion: a sum over expressions of attention to each."""

  M, C, P, L = 4, 32, 10, 5

  @pytest.fixture(scope="class")
  def attention(self):
    module = fusion_lib.PackedAttention(self.C, self.M)
    random = np.random.RandomState(0)
    text = random.standard_normal((2 * 3, self.L, self.C)).astype(np.float32)
    valid = np.arange(self.L) < random.randint(2, self.L + 1, (6, 1))
    params = module.init(jax.random.key(0), text, text, text)
    params = jax.tree.map(
      lambda x: x + 0.1 * random.standard_normal(x.shape), params
    )
    tokens = random.standard_normal((2, self.P, self.C)).astype(np.float32)
    words = module.apply(params, text, text, valid, method="project")
    return tokens, words

  def attend(self, tokens, words):
    weights = fusion_lib.attention_weights(tokens, words)
    return np.asarray(fusion_lib.weighted_sum(weights, words))

  def rows(self, words, rows):
    return jax.tree.map(lambda x: x[np.array(rows)], words)

  @pytest.mark.parametrize("counts", [(3, 3), (1, 2)])
  @pytest.mark.parametrize("scale", variants.FUSION_SCALES)
  def test_one_product_is_the_loop(self, attention, counts, scale):
    tokens, words = attention
    valid = np.arange(3) < np.array(counts)[:, None]
    got = self.attend(tokens, multi_instance.merge(words, valid, scale))
    for b, count in enumerate(counts):
      each = [
        self.attend(tokens[b : b + 1], self.rows(words, [3 * b + e]))[0]
        for e in range(count)
      ]
      factor = {"sum": 1, "rsqrt": count**-0.5, "mean": 1 / count}[scale]
      np.testing.assert_allclose(got[b], factor * sum(each), atol=1e-5)

  def test_sums_of_parts_add_up(self, attention):
    tokens, words = attention
    of = lambda rows: self.attend(
      tokens[:1],
      multi_instance.merge(
        self.rows(words, rows), np.ones((1, len(rows)), bool), "sum"
      ),
    )
    np.testing.assert_allclose(of([0, 1, 2]), of([0, 2]) + of([1]), atol=1e-5)


class Attention:
  """Plain multi-head attention of one row, with packed parameters."""

  def __init__(self, params, heads):
    self.params, self.heads = params["multihead_attn"], heads

  def __call__(self, query, key, value, valid):
    kernel, bias = (self.params["in_proj"][n] for n in ("kernel", "bias"))
    q, k, v = (
      x @ w + b
      for x, w, b in zip(
        (query, key, value), np.split(kernel, 3, 1), np.split(bias, 3)
      )
    )
    split = lambda x: x.reshape(len(x), self.heads, -1).swapaxes(0, 1)
    scores = split(q) @ split(k).swapaxes(1, 2)
    scores = scores / np.sqrt(q.shape[1] // self.heads)
    weights = np.where(valid, np.exp(scores), 0)
    weights /= weights.sum(-1, keepdims=True)
    out = (weights @ split(v)).swapaxes(0, 1).reshape(len(query), -1)
    kernel, bias = (self.params["out_proj"][n] for n in ("kernel", "bias"))
    return out @ kernel + bias


def test_fusion_and_decoupling_are_their_equations(fast, inputs):
  """M + M * attention(M, words), and F * sum of attention(F, words), of two
  clips with three expressions each, the last of which only fills."""
  tokens, valid = (x[:, :3] for x in inputs)
  valid = valid & (np.arange(3) < 2)[:, None]
  text = jax.jit(lambda *args: fast.apply(fast.params, "encode_text", *args))(
    _flat(tokens), _flat(valid)
  )
  random = np.random.RandomState(2)
  maps = random.standard_normal((2, 2, 3, 4, fast.model.variant.width))
  maps = maps.astype(np.float32)
  decoupled, fused = jax.jit(
    lambda params: (
      fast.apply(params, "decouple", (maps,), text)[0],
      fast.apply(params, _fuse_without_spectrum, maps, text),
    )
  )(fast.params)
  words, position, known = map(
    np.asarray, (text.words, text.word_pos, text.word_valid)
  )
  params = jax.tree.map(np.asarray, fast.params)
  of_maps = Attention(params["decouple_module"], fast.model.variant.num_heads)
  of_clip = Attention(params["fusion_module"], fast.model.variant.num_heads)
  for b in range(2):
    flat, total = maps[b].reshape(-1, maps.shape[-1]), 0
    for row in (3 * b, 3 * b + 1):
      args = words[row] + position[row], words[row], known[row]
      want = flat + flat * of_maps(flat, *args)
      got = np.asarray(decoupled[row]).reshape(want.shape)
      assert np.abs(got - want).max() < 1e-4 * want.std()
      total = total + of_clip(flat, *args)
    got = np.asarray(fused[b]).reshape(flat.shape)
    assert np.abs(got - flat * total).max() < 1e-4 * (flat * total).std()


def _fuse_without_spectrum(model, maps, text):
  return multi_instance.fuse(model.fusion_module, maps, text, "sum")


def test_what_is_shared_and_what_decouples_learn_from_the_start(fast, inputs):
  video, text = fast.clip(0), _text(fast, inputs, 2)

  def loss(trained):
    apply = functools.partial(fast.apply, fast.initial | trained)
    fused = apply("fuse", video, text)
    decoded = apply("transform", fused, video, text)
    patches = apply("patch_masks", decoded, video)
    return jnp.sum(jnp.sin(patches)) + jnp.sum(jnp.sin(decoded.logits))

  parts = ("decouple_module", "fusion_module", "transformer")
  trained = {name: fast.initial[name] for name in parts}
  grads = jax.jit(jax.grad(loss))(trained)
  still = {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, g in jax.tree.leaves_with_path(grads)
    if not np.abs(g).max() > 0
  }
  # Behind projections that start with zeros, as SgMg's sampling offsets do.
  assert still == {
    "transformer/level_embed",
    "decouple_module/multihead_attn/in_proj/kernel",
    "decouple_module/multihead_attn/in_proj/bias",
  }


def test_further_expressions_cost_little():
  """Of the tiny model at 5 frames of 360 x 640, eight less than 1.3 times one;
  SgMg pays half a pass for each."""
  variant = variants.get_variant("video_swin_t", decouple="features")
  one, eight = _gflops(variant, 1), _gflops(variant, 8)
  assert eight < 1.25 * one
  assert (eight - one) / 7 < 0.03 * one
  plain = dataclasses.replace(variant, decouple="")
  assert abs(_gflops(plain, 1) / one - 1) < 0.02
  assert _gflops(plain, 8) > 3 * one


def _gflops(variant, expressions):
  whole, _, _ = bench_model.steps(sgmg.SgMg(variant))
  shape = jax.ShapeDtypeStruct
  inputs = (
    shape((1, 5, 368, 640, 3), jnp.float32),
    shape((1, 368, 640), bool),
    shape((1, 2), jnp.int32),
  )
  tokens = shape((expressions, 16), jnp.int32)
  params = expected_shapes.model(variant)
  return operations.count_flops(
    jax.make_jaxpr(whole)(params, inputs, tokens).jaxpr
  )


def test_rows_repeat_clip_by_clip():
  x = jnp.arange(2)
  assert types.repeat_rows(x, 6).tolist() == [0, 0, 0, 1, 1, 1]
