"""The training step of the tiny model on one fixed batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax import types
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels
from sgmg_jax.losses import criterion, means
from sgmg_jax.model import sgmg, variants
from sgmg_jax.pretraining import cell_heads, role_heads
from sgmg_jax.training import forward, optimizer, sharding
from sgmg_jax.training import schedule as schedule_lib
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib

pytestmark = pytest.mark.slow

SIDE, FRAMES, TOKENS = 160, 2, 6
# Few blocks: nearly all the time here goes into compiling. Without chance, so
# that two layouts of a batch can be compared.
VARIANT = variants.get_variant(
  "mu",
  depths=(1, 1, 1, 1),
  encoder_layers=1,
  decoder_layers=2,
  text_layers=1,
  dropout=0.0,
  drop_path=0.0,
)
GROUPS = (("text_encoder/.*", None), ("backbone_0/.*", 0.5), (".*", 1.0))


def _batch(clips, expressions):
  """Clips of noise; expression e of each asks for square e."""
  random = np.random.RandomState(0)
  rows = clips * expressions
  frames = random.randn(clips, FRAMES, SIDE, SIDE, 3).astype(np.float32)
  masks = np.zeros((rows, FRAMES, SIDE, SIDE), bool)
  boxes = np.zeros((rows, FRAMES, 4), np.float32)
  for row in range(rows):
    x = 30 + 50 * (row % expressions)
    masks[row, :, 40:80, x : x + 40] = True
    boxes[row] = np.array([x + 20, 60, 40, 40]) / SIDE
  return types.Batch(
    frames=jnp.array(frames),
    pixel_valid=jnp.ones((clips, SIDE, SIDE), bool),
    size=jnp.full((clips, 2), SIDE),
    tokens=jnp.array(random.randint(4, 100, (rows, TOKENS))),
    token_valid=jnp.ones((rows, TOKENS), bool),
    targets=types.Targets(
      boxes=jnp.array(boxes),
      masks=jnp.array(masks),
      valid=jnp.ones((rows, FRAMES), bool),
    ),
  )


@pytest.fixture(scope="module")
def model():
  return sgmg.SgMg(VARIANT)


@pytest.fixture(scope="module")
def params(model):
  """Random weights; the initialisers alone would compile for ten seconds."""
  random = np.random.RandomState(0)
  shapes = jax.eval_shape(
    functools.partial(sgmg.init_params, model), jax.random.key(0)
  )

  def draw(leaf):
    z = random.standard_normal(leaf.shape).astype(np.float32)
    fan_in = leaf.size // leaf.shape[-1]
    return jnp.asarray(z / np.sqrt(fan_in) if leaf.ndim > 1 else 0.1 * z)

  return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module")
def history(model, params):
  """The states before and after 8 steps, and every step's metrics."""
  schedule = schedule_lib.step_decay(
    2e-3, warmup_steps=1, drop_steps=(), drop_factor=0.1
  )
  tx = optimizer.make_optimizer(
    params, schedule, groups=GROUPS, weight_decay=5e-4, grad_clip=0.1
  )
  step = jax.jit(
    step_lib.make_step(
      forward.make_objective(model),
      tx,
      policy=model.precision,
      trainable=optimizer.trainable_mask(params, GROUPS),
      seed=0,
      ema_decay=0.9,
    )
  )
  first = state = state_lib.create(params, tx, use_ema=True)
  batch, metrics = _batch(1, 2), []
  for _ in range(8):
    state, values = step(state, batch)
    metrics.append(jax.device_get(values))
  return first, state, metrics


def test_loss_falls_on_a_fixed_batch(history):
  totals = [m["total"] for m in history[2]]
  assert np.isfinite(totals).all()
  assert totals[-1] < 0.75 * totals[0]


def test_metrics_are_the_losses_of_every_layer(history):
  names = {n + s for n in criterion.WEIGHTS for s in ("", "_0")}
  metrics = history[2][0]
  norms = {name for name in metrics if name.startswith("grad_norm/")}
  assert "grad_norm/backbone" in norms
  assert "grad_norm/text_encoder" not in norms
  assert metrics.keys() == names | norms | {"total", "grad_norm", "skipped"}
  expected = sum(criterion.weight(n) * metrics[n] for n in names)
  np.testing.assert_allclose(metrics["total"], expected, rtol=1e-5)


def test_frozen_text_encoder_stays_and_all_else_moves(history):
  first, last, _ = history

  def check(path, a, b):
    name = jax.tree_util.keystr(path)
    same = np.array_equal(a, b)
    assert same == ("'text_encoder'" in name), name

  jax.tree_util.tree_map_with_path(check, first.params, last.params)


def test_average_lies_between_start_and_end(history):
  first, last, _ = history
  assert int(last.step) == 8
  distance = lambda a, b: sum(
    float(np.square(np.asarray(x) - np.asarray(y)).sum())
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))
  )
  whole = distance(first.params, last.params)
  assert 0 < distance(last.ema, last.params) < whole
  assert 0 < distance(last.ema, first.params) < whole
  assert last.best_params is last.ema


def test_random_streams_follow_the_step():
  keys = [state_lib.step_rngs(0, jnp.int32(s)) for s in (0, 0, 1)]
  data = [{k: jax.random.key_data(v) for k, v in r.items()} for r in keys]
  for name in ("dropout", "drop_path"):
    np.testing.assert_array_equal(data[0][name], data[1][name])
    assert (data[0][name] != data[2][name]).any()
  assert (data[0]["dropout"] != data[0]["drop_path"]).any()


def _jit_losses(model):
  """`forward.losses` of (parameters, batch) with one step's chance."""
  rngs = state_lib.step_rngs(0, jnp.int32(0))
  return jax.jit(
    lambda params, batch: means.values(
      forward.losses(model, params, batch, rngs)[:2]
    )
  )


def test_shared_encoding_changes_no_loss(model, params):
  shared = _batch(1, 2)
  repeat = lambda x: jnp.repeat(x, 2, axis=0)
  apart = shared.replace(
    frames=repeat(shared.frames),
    pixel_valid=repeat(shared.pixel_valid),
    size=repeat(shared.size),
  )
  losses = _jit_losses(model)
  actual, expected = losses(params, shared)[0], losses(params, apart)[0]
  for name, value in expected.items():
    np.testing.assert_allclose(actual[name], value, rtol=1e-4, err_msg=name)


def test_cells_of_all_frames_are_asked_beside_the_annotated_ones(model, params):
  random = np.random.default_rng(1)
  labels = lambda low, high, last: tuple(
    random.integers(low, high, (1, FRAMES, SIDE // s, SIDE // s, last))
    for s in cell_heads.STRIDES
  )
  motion = len(cell_labels.MOTION)
  batch = _batch(1, 2)
  said = tuple(
    random.integers(-1, 2, (2, 1, SIDE // s, SIDE // s, 3))
    for s in cell_heads.STRIDES
  )
  first = lambda x: x[:, :1]
  some = batch.replace(
    annotated=jnp.array([[0]]),
    targets=jax.tree.map(first, batch.targets),
  )
  labelled = some.replace(
    labels={
      "cells": cell_labels.CellLabels(labels(0, 4, 4), labels(-1, 2, motion)),
      "roles": said,
    },
  )
  tasks = (cell_heads, role_heads)
  heads = {
    task.NAME: task.init(jax.random.key(0), VARIANT.width) for task in tasks
  }
  expected, nothing = _jit_losses(model)(params, some)
  params = {**params, **heads}
  tx = optax.sgd(1e-3)
  step = step_lib.make_step(
    forward.make_objective(model, tasks),
    tx,
    policy=model.precision,
    trainable=jax.tree.map(lambda _: True, params),
    seed=0,
  )
  state = state_lib.create(params, tx, use_ema=False)
  state, metrics = jax.jit(step)(state, labelled)
  assert not nothing and float(metrics["loss_motion_8"]) > 1
  assert float(metrics["loss_memory_referent_16"]) > 0.1
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-3, err_msg=name)
  total = criterion.total({name: metrics[name] for name in expected})
  total += cell_heads.WEIGHT * cell_heads.total_loss(metrics)
  total += role_heads.WEIGHT * role_heads.total_loss(metrics)
  np.testing.assert_allclose(metrics["total"], total, rtol=1e-4)
  moved = jax.tree.map(
    lambda a, b: not np.array_equal(a, b),
    {name: state.params[name] for name in heads},
    heads,
  )
  assert all(jax.tree.leaves(moved))


@pytest.fixture(scope="module")
def uneven():
  """A batch whose parts count differently many frames: the divisor must be
  the whole's."""
  batch = _batch(4, 1)
  valid = batch.targets.valid.at[0, 0].set(False).at[1].set(False)
  return batch.replace(targets=batch.targets.replace(valid=valid))


@pytest.fixture(scope="module")
def take_step(model, params, uneven, one_step):
  def run(mesh, rules=(), accumulation=1):
    return one_step(
      forward.make_objective(model),
      optax.sgd(1.0),
      params,
      uneven,
      mesh,
      rules,
      policy=model.precision,
      trainable=jax.tree.map(lambda _: True, params),
      accumulation=accumulation,
    )

  return run


@pytest.fixture(scope="module")
def whole_step(take_step):
  return take_step(sharding.make_mesh(4, data=1))


@pytest.mark.parametrize(
  "axis, accumulation", [("data", 1), ("fsdp", 2)], ids=str
)
def test_devices_and_parts_make_the_step_of_one(
  axis, accumulation, params, take_step, whole_step
):
  sizes = {name: -1 if name == axis else 1 for name in sharding.AXES}
  mesh = sharding.make_mesh(4, **sizes, accumulation=accumulation)
  assert mesh.shape[axis] == 2
  actual, shared = take_step(mesh, [(".*", "fsdp")], accumulation)
  expected, one = whole_step
  for name, value in one.items():
    np.testing.assert_allclose(shared[name], value, rtol=1e-4, err_msg=name)

  # Rounding flips single ReLUs, worth 0.4 % of the largest entry; a wrong
  # divisor would be worth a third.
  def check(path, start, a, b):
    largest = np.abs(np.asarray(b) - start).max()
    np.testing.assert_allclose(
      a,
      b,
      rtol=0,
      atol=1e-2 * largest + 1e-6,
      err_msg=jax.tree_util.keystr(path),
    )

  jax.tree_util.tree_map_with_path(
    check, params, actual.params, expected.params
  )
  largest = max(jax.tree.leaves(actual.ema), key=lambda x: x.size)
  cut = largest.addressable_shards[0].data.size
  assert cut == largest.size // mesh.shape["fsdp"]


def test_parts_take_rows_of_their_clips():
  batch = {"clips": jnp.arange(4), "rows": jnp.arange(8).reshape(8, 1)}
  parts = step_lib.split(batch, 2)
  np.testing.assert_array_equal(parts["clips"], [[0, 2], [1, 3]])
  np.testing.assert_array_equal(
    parts["rows"][..., 0], [[0, 1, 4, 5], [2, 3, 6, 7]]
  )
