"""The precision policy holds in every program: read off the programs."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

import sgmg_jax
from sgmg_jax import errors, precision, types
from sgmg_jax.inference import programs
from sgmg_jax.losses import means
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import forward, optimizer
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib

VARIANT = variants.get_variant(
  "mu", depths=(1, 1, 1, 1), encoder_layers=1, decoder_layers=1, text_layers=1
)
FRAMES, SIDE, TOKENS = 1, 160, 4
# What stays float32 under mixed precision, by the names in the programs.
EXACT = (
  "input_fft_0",
  "input_fft_post_3",
  "sampling_offsets",
  "reference_points",
  "class_embed_0",
  "bbox_embed_0",
  "deform_attn_xla_forward_rows",
)

shape = jax.ShapeDtypeStruct


def lowered(function, *args):
  """Text of a function's program with the forms of all platforms."""
  traced = jax.jit(function).trace(*args)
  platforms = ("cpu", "cuda", "tpu")
  return traced.lower(lowering_platforms=platforms).as_text(debug_info=True)


def products(text):
  """(name, operands' dtypes, precisions) of every matrix product and every
  convolution of a program."""
  names = dict(re.findall(r'^(#loc\d+) = loc\("([^"]*)"', text, re.M))
  found = []
  for line in text.splitlines():
    if not re.search(r"= stablehlo\.(dot_general|convolution)\b", line):
      continue
    operands = re.search(r" : \((tensor<.*?>), (tensor<.*?>)\)", line).groups()
    dtypes = [re.search(r"(\w+)>$", x)[1].split("x")[-1] for x in operands]
    location = re.search(r"loc\((#loc\d+)\)", line)[1]
    kinds = re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)
    found.append((names.get(location, ""), dtypes, set(kinds or ["DEFAULT"])))
  return found


def float32(found):
  """Precisions of those whose operands are both float32."""
  return [kinds for _, dtypes, kinds in found if dtypes == ["f32", "f32"]]


def exact(found):
  """Names of those that are not left to the policy."""
  return [name for name, _, kinds in found if kinds == {"HIGHEST"}]


@functools.cache
def params():
  model = sgmg.SgMg(VARIANT)
  return jax.eval_shape(lambda: sgmg.init_params(model, jax.random.key(0)))


@functools.cache
def inference(dtype, policy):
  """Products of the programs that `Predictor` runs."""
  steps = programs.compiled(VARIANT, dtype, policy)
  clip = shape((1, FRAMES, SIDE, SIDE, 3), jnp.uint8)
  tokens = shape((1, TOKENS), jnp.int32), shape((1, TOKENS), bool)
  size, count = shape((1, 2), jnp.int32), shape((), jnp.int32)
  calls = {
    "encode_video": (params(), clip, size, count),
    "encode_text": (params(), *tokens),
  }
  run = lambda name: lambda *args: getattr(steps, name)(*args)
  features = [jax.eval_shape(run(name), *args) for name, args in calls.items()]
  calls["query"] = (params(), *features)
  found = []
  for name, args in calls.items():
    found += products(lowered(run(name), *args))
  return found


@functools.cache
def training(dtype, policy):
  """Products of the training step, with gradients and Muon."""
  model = sgmg.SgMg(VARIANT, dtype=jnp.dtype(dtype), precision=policy)
  groups = ((".*", 1.0),)
  tx = optimizer.make_optimizer(
    params(),
    lambda step: 1e-3,
    groups=groups,
    weight_decay=0.0,
    grad_clip=0.1,
    name="muon",
  )
  step = step_lib.make_step(
    forward.make_objective(model),
    tx,
    policy=policy,
    trainable=optimizer.trainable_mask(params(), groups),
    seed=0,
    ema_decay=0.0,
  )
  create = functools.partial(state_lib.create, tx=tx, use_ema=False)
  batch = types.Batch(
    frames=shape((1, FRAMES, SIDE, SIDE, 3), jnp.float32),
    pixel_valid=shape((1, SIDE, SIDE), bool),
    size=shape((1, 2), jnp.int32),
    tokens=shape((1, TOKENS), jnp.int32),
    token_valid=shape((1, TOKENS), bool),
    targets=types.Targets(
      boxes=shape((1, FRAMES, 4), jnp.float32),
      masks=shape((1, FRAMES, SIDE, SIDE), bool),
      valid=shape((1, FRAMES), bool),
    ),
  )
  return products(lowered(step, jax.eval_shape(create, params()), batch))


@pytest.mark.parametrize(
  "program", [inference, pytest.param(training, marks=pytest.mark.slow)]
)
def test_highest_rounds_nothing(program):
  found = float32(program("float32", "highest"))
  assert len(found) > 100
  assert all(kinds == {"HIGHEST"} for kinds in found)


def test_default_leaves_the_rest_to_the_platform():
  found = inference("float32", "default")
  rounded = [name for name, _, kinds in found if kinds == {"DEFAULT"}]
  assert len(rounded) > 50
  names = exact(found)
  for part in EXACT:
    assert any(part in name for name in names), part
    assert not any(part in name for name in rounded), part


def test_what_is_float32_under_mixed_precision_is_exact():
  """Whatever the policy; and the same is exact in float32."""
  found = inference("bfloat16", "default")
  assert any("bf16" in dtypes for _, dtypes, _ in found)
  assert all(kinds == {"HIGHEST"} for kinds in float32(found))
  assert exact(found) == exact(inference("float32", "default"))


def test_pretraining_follows_the_policy():
  """Its heads and Muon are no part of the model."""

  def objective(weights, batch, rngs):
    total = jnp.sum(batch @ weights["kernel"])
    return means.of(total, jnp.ones(())), {}

  weights = {"kernel": shape((8, 8), jnp.float32)}
  tx = optimizer.make_optimizer(
    weights,
    lambda step: 1e-3,
    groups=((".*", 1.0),),
    weight_decay=0.0,
    grad_clip=0.1,
    name="muon",
  )
  create = functools.partial(state_lib.create, tx=tx, use_ema=False)
  state, batch = jax.eval_shape(create, weights), shape((2, 8), jnp.float32)
  for policy, expected in (("highest", "HIGHEST"), ("default", "DEFAULT")):
    step = step_lib.make_step(
      objective,
      tx,
      trainable={"kernel": True},
      seed=0,
      policy=policy,
    )
    found = products(lowered(step, state, batch))
    assert len(found) > 3
    assert all(kinds == {expected} for _, _, kinds in found)


def test_a_policy_is_part_of_what_is_compiled():
  traces = []

  @jax.jit
  def product(x):
    traces.append(None)
    return x @ x

  for policy in ("default", "highest", "highest"):
    with precision.scope(policy):
      product(jnp.ones((2, 2)))
  assert len(traces) == 2
  assert programs.compiled(VARIANT) is not programs.compiled(
    VARIANT, "float32", "default"
  )


def test_unknown_policy(mu_checkpoint):
  with pytest.raises(errors.UserError, match="highest or default, got 'high'"):
    sgmg_jax.load(mu_checkpoint, precision="high")
