"""Deformable attention's TPU kernels: interpreted, and compiled for TPUs."""

import deform_attn_suite as suite
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import arg_specs, pallas_tpu, problem
from sgmg_jax.kernels.deform_attn.pallas_tpu import backward, forward, tiles
from sgmg_jax.training import tpu_topology


class TestPallasTpu(suite.Suite):
  implementation = "pallas_tpu"
  interpret = True
  platform = "tpu"
  marker = "deform_attn_pallas_tpu_"
  # Less than a tile, and one that is partly filled beside a full one.
  queries = (1, 131)


def problem_of(**changes):
  inputs = suite.random_inputs(70)
  return problem.make(*inputs, suite.SHAPES)._replace(**changes)


@pytest.mark.parametrize(
  "shape", [(46, 80), (23, 40), (6, 10), (1, 1), (135, 240), (7, 3000)]
)
def test_blocks_cover_a_level(shape):
  level = tiles.make_level(*shape)
  rows, columns = level.padded
  assert rows >= shape[0] and columns >= shape[1]
  # Less than half is padding, but for whole registers of tiny levels.
  assert rows * columns < 2 * max(shape[0], 2) * max(shape[1], 8)
  assert level.keys <= 2304
  assert level.columns % 8 == 0 and level.keys % 16 == 0


@pytest.mark.parametrize("shapes", [suite.SHAPES, ((5, 90), (60, 41))])
def test_packing_is_undone(shapes):
  size = sum(h * w for h, w in shapes)
  values = np.random.RandomState(0).standard_normal((2, size, 3))
  packed = tiles.pack(jnp.asarray(values, jnp.float32), shapes)
  back = tiles.unpack(packed, shapes)
  np.testing.assert_array_equal(back, np.float32(values))


def test_levels_of_several_strips_and_bands():
  """One block of the suite's levels is the whole level."""
  shapes = ((90, 41),)
  random = np.random.RandomState(0)
  inputs = [
    random.standard_normal((1, 90 * 41, 1, 8)),
    random.uniform(-0.1, 1.1, (1, 130, 1, 1, 2, 2)),
    random.standard_normal((1, 130, 1, 1, 2)),
  ]
  inputs = [x.astype(np.float32) for x in inputs]
  level = tiles.make_level(*shapes[0])
  assert level.bands > 1 and level.strips > 1
  run = lambda *args: deform_attn.deformable_attention(
    *args, level_shapes=shapes, implementation="pallas_tpu", interpret=True
  )
  suite.close(run(*inputs), suite.reference(*inputs, level_shapes=shapes), 1e-5)
  cotangent = suite.random_cotangent(inputs)
  exact = suite.reference(*inputs, cotangent, level_shapes=shapes)
  for ours, expected in zip(suite.gradients_of(run, inputs, cotangent), exact):
    suite.close(ours, expected, 1e-5)


@pytest.mark.parametrize(
  "change, reason",
  [
    (dict(dtype=np.dtype("float16")), "float16"),
    (dict(queries=0), "nothing"),
    (dict(level_shapes=((270, 480),), heads=8, channels=32), "VMEM"),
  ],
)
def test_says_what_it_cannot_run(change, reason):
  assert reason in pallas_tpu.why_not(problem_of(**change))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", arg_specs.FRAME_SIZES.values())
def test_runs_what_the_model_needs(size, dtype):
  assert pallas_tpu.why_not(arg_specs.encoder(*size, dtype=dtype)) is None


def test_cost_of_every_call():
  """Compilers schedule round a kernel by these figures."""
  inputs = suite.random_inputs(70)
  cotangent = suite.random_cotangent(inputs)
  for function, args in (
    (forward.run, inputs),
    (backward.run, (*inputs, cotangent)),
  ):
    program = jax.make_jaxpr(
      lambda *args, f=function: f(*args, level_shapes=suite.SHAPES)
    )(*args)
    calls = [e for e in program.eqns if e.primitive.name == "pallas_call"]
    assert len(calls) == 1
    cost = calls[0].params["cost_estimate"]
    assert cost.flops > 8 * inputs[2].size * inputs[0].shape[-1]
    assert cost.bytes_accessed > sum(x.nbytes for x in args)


# Each chip, each size, both dtypes, encoder and decoder at least once: all
# combinations would take many minutes.
@pytest.mark.tpu_aot
@pytest.mark.parametrize(
  "chip, size, dtype, queries",
  [
    ("v5e", "360x640", jnp.bfloat16, None),
    ("v5p", "512x640", jnp.float32, None),
    ("v6e", "512x640", jnp.bfloat16, None),
    ("v6e", "360x640", jnp.float32, 5),
  ],
)
def test_compiles_for_tpus(chip, size, dtype, queries):
  need = arg_specs.encoder(*arg_specs.FRAME_SIZES[size], frames=2, dtype=dtype)
  args = arg_specs.arguments(need._replace(queries=queries or need.queries))[:3]
  # Of itself, where the kernels pay.
  implementation = None if queries is None else "pallas_tpu"

  def loss(*args):
    return deform_attn.deformable_attention(
      *args, level_shapes=need.level_shapes, implementation=implementation
    ).sum()

  run = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
  text = run.lower(*tpu_topology.place(args, chip)).compile().as_text()
  calls = [line for line in text.splitlines() if "tpu_custom_call" in line]
  for direction in ("forward", "backward"):
    name = f"deform_attn_pallas_tpu_{direction}"
    assert any(name in line for line in calls), direction
