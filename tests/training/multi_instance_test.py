"""Losses of Fast SgMg: groups of different sizes, and rows that only fill."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax import types
from sgmg_jax.checkpoints import native, random_weights
from sgmg_jax.evaluation import measures
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.losses import criterion, means
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import forward, sharding

pytestmark = pytest.mark.slow

SIDE = 160
COUNTS = np.array([3, 1])
JUNK = 99


@pytest.fixture(scope="module")
def batch():
  """Two clips of one frame with up to three expressions."""
  random = np.random.RandomState(0)
  used = np.arange(3) < COUNTS[:, None]
  masks = np.zeros((2, 3, 1, SIDE, SIDE), bool)
  boxes = random.uniform(0.2, 0.6, (2, 3, 1, 4)).astype(np.float32)
  for place in np.ndindex(2, 3):
    top, left = random.randint(0, SIDE - 60, 2)
    masks[place][:, top : top + 50, left : left + 40] = used[place]
  tokens = random.randint(4, 90, (2, 3, 6))
  rows = lambda x: jnp.asarray(x.reshape(6, *x.shape[2:]))
  return types.Batch(
    frames=jnp.asarray(
      random.standard_normal((2, 1, SIDE, SIDE, 3)), jnp.float32
    ),
    pixel_valid=jnp.ones((2, SIDE, SIDE), bool),
    size=jnp.full((2, 2), SIDE),
    tokens=rows(tokens),
    token_valid=rows(np.broadcast_to(used[..., None], tokens.shape)),
    targets=types.Targets(
      boxes=rows(boxes), masks=rows(masks), valid=rows(used[..., None])
    ),
    expression_valid=jnp.asarray(used),
  )


@pytest.fixture(scope="module")
def differentiate():
  """Batch -> sum of losses, its count, all losses, and the gradients."""
  variant = variants.get_variant(
    "mu",
    depths=(1, 1, 1, 1),
    encoder_layers=1,
    decoder_layers=1,
    text_layers=1,
    dropout=0.0,
    drop_path=0.0,
    decouple="features",
  )
  params = jax.tree.map(jnp.asarray, random_weights.make(variant))
  objective = forward.make_objective(sgmg.SgMg(variant))
  rngs = {name: jax.random.key(0) for name in ("dropout", "drop_path")}

  @functools.cache
  def step(devices):
    mesh = sharding.make_mesh(2, devices=jax.devices()[:devices])
    shardings = sharding.by_rules(params, (), mesh)
    shared = sharding.add_over_batch(objective, mesh, shardings)

    def loss(params, batch):
      total, metrics = shared(params, batch, rngs)
      return jnp.sum(total.total), (total.count, metrics)

    return jax.jit(
      jax.value_and_grad(loss, has_aux=True),
      in_shardings=(shardings, sharding.batch(mesh)),
    )

  def run(batch, devices=1):
    (total, rest), grads = step(devices)(params, batch)
    return jax.device_get((total, *rest, grads))

  return run


@pytest.fixture(scope="module")
def whole(differentiate, batch):
  return differentiate(batch)


def test_two_devices_with_different_numbers_are_one(
  differentiate, batch, whole
):
  _close(differentiate(batch, devices=2), whole)
  assert np.unique(whole[1]).tolist() == [COUNTS.sum()]


def test_rows_that_fill_the_batch_teach_nothing(differentiate, batch, whole):
  used = np.asarray(batch.expression_valid).reshape(-1, 1)
  tokens = jnp.where(used, batch.tokens, JUNK)
  junk = differentiate(batch.replace(tokens=tokens))
  _close(junk, whole, bound=1e-6)
  (grad,) = (
    g
    for path, g in jax.tree.leaves_with_path(junk[-1])
    if "word_embeddings" in jax.tree_util.keystr(path)
  )
  assert np.abs(grad[np.asarray(batch.tokens[0])]).max() > 0
  assert not np.any(grad[JUNK])


def test_words_about_what_is_not_shown_are_seen(differentiate, batch, whole):
  """They count in no loss and yet are part of what is asked."""
  absent = jnp.ones_like(batch.token_valid)
  total, count, *_ = differentiate(batch.replace(token_valid=absent))
  np.testing.assert_array_equal(count, whole[1])
  assert abs(total / whole[0] - 1) > 1e-5


def test_losses_do_not_know_the_order(differentiate, batch, whole):
  rows = np.array([2, 0, 1, 3, 4, 5])
  moved = batch.replace(
    tokens=batch.tokens[rows],
    targets=jax.tree.map(lambda x: x[rows], batch.targets),
  )
  _close(differentiate(moved), whole)


def _close(got, want, bound=1e-4):
  """Losses to five digits; gradients but for noise at the kinks of ReLUs."""
  for a, b in zip(
    jax.tree.leaves(got[:-1]), jax.tree.leaves(want[:-1]), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-5)
  grads = [jax.tree.leaves(x[-1]) for x in (got, want)]
  norm = optax.global_norm(grads[1])
  assert optax.global_norm(jax.tree.map(jnp.subtract, *grads)) < bound * norm


def test_a_few_steps_tell_the_objects_of_a_clip_apart():
  """From the bundled SgMg, whose expressions nothing has decoupled yet."""
  clip = dataset.generate_clip("train", 12, num_frames=1)
  chosen = {e.object_index: e for e in clip.expressions}.values()
  batch, model, params = _overfit_inputs(clip, list(chosen))
  trained = ("decouple_module", "fusion_module", "transformer", "controller")
  step, masks = _overfit(model, params, trained, batch)
  state = {name: params[name] for name in trained}
  moments = optax.adam(3e-3).init(state)
  true = np.asarray(batch.targets.masks)
  for k in itertools.count(1):
    state, moments, _ = step(state, moments)
    if k % 20 == 0:
      found = np.asarray(masks(state, batch))
      scores = [
        (measures.region_similarity(a, b), measures.boundary_measure(a, b))
        for a, b in zip(found, true, strict=True)
      ]
      if np.mean(scores, (1, 2)).min() > 0.9:
        break
    assert k < 200, f"J&F {np.mean(scores, (1, 2))}"
  order = np.random.RandomState(0).permutation(len(true))
  moved = batch.replace(
    tokens=batch.tokens[order], token_valid=batch.token_valid[order]
  )
  assert np.mean(np.asarray(masks(state, moved)) != found[order]) < 1e-3


def _overfit_inputs(clip, chosen):
  checkpoint = native.load("refshapes-mini")
  variant = variants.replace(
    checkpoint.variant, {"decouple": "features"}, "test"
  )
  model = sgmg.SgMg(variant)
  params = jax.tree.map(
    lambda x: jnp.asarray(x, jnp.float32), dict(checkpoint.params)
  )
  attention = random_weights.make(variant)["decouple_module"]
  attention["multihead_attn"]["out_proj"] = jax.tree.map(
    np.zeros_like, attention["multihead_attn"]["out_proj"]
  )
  params["decouple_module"] = jax.tree.map(jnp.asarray, attention)
  tokens, valid = tokenizer_lib.encode(
    checkpoint.tokenizer, [e.text for e in chosen], 24
  )
  objects = [e.object_index for e in chosen]
  masks, boxes = clip.masks[objects], clip.boxes[objects]
  low, high = boxes[..., :2], boxes[..., 2:] + 1
  size = jnp.full((1, 2), SIDE)
  frames, pixel_valid = preprocess.normalise(
    jnp.asarray(clip.frames[None]), size
  )
  batch = types.Batch(
    frames=frames,
    pixel_valid=pixel_valid,
    size=size,
    tokens=jnp.asarray(tokens),
    token_valid=jnp.asarray(valid),
    targets=types.Targets(
      boxes=jnp.asarray(
        np.concatenate([low + high, 2 * (high - low)], -1) / (2 * SIDE)
      ),
      masks=jnp.asarray(masks),
      valid=jnp.asarray(masks.any((-2, -1))),
    ),
  )
  return batch, model, params


def _overfit(model, params, trained, batch):
  """(a step of Adam on some modules, masks); the clip is encoded once."""
  apply = functools.partial(_apply, model)
  frozen = {name: x for name, x in params.items() if name not in trained}
  inputs = batch.frames, batch.pixel_valid, batch.size
  video = jax.jit(lambda: apply(params, "encode_video", *inputs))()
  words = jax.jit(lambda *args: apply(params, "encode_text", *args))
  text = words(batch.tokens, batch.token_valid)

  def decode(state, text):
    every = frozen | state
    fused = apply(every, "fuse", video, text)
    return every, apply(every, "transform", fused, video, text)

  def loss(state):
    every, decoded = decode(state, text)
    layers = forward.match_layers(
      decoded,
      apply(every, "patch_masks_of_layers", decoded, video),
      batch.targets,
      lambda chosen: apply(every, "refine", chosen, video),
    )
    losses = forward.layer_losses(layers, batch.targets)
    return criterion.total(means.values(losses))

  @jax.jit
  def step(state, moments):
    value, grads = jax.value_and_grad(loss)(state)
    updates, moments = optax.adam(3e-3).update(grads, moments)
    return optax.apply_updates(state, updates), moments, value

  @jax.jit
  def segment(state, text):
    every, decoded = decode(state, text)
    return apply(every, "segment", decoded, video)[0] > 0

  return step, lambda state, batch: segment(
    state, words(batch.tokens, batch.token_valid)
  )


def _apply(model, params, method, *args):
  return model.apply({"params": params}, *args, method=method)
