"""Deformable attention's GPU kernels, interpreted."""

import builtins
import functools
import importlib

import deform_attn_suite as suite
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import (
  corners,
  kernel_choice,
  pallas_gpu,
  problem,
)
from sgmg_jax.kernels.deform_attn.pallas_gpu import backward, forward, tiles


class TestPallasGpu(suite.Suite):
  implementation = "pallas_gpu"
  interpret = True
  platform = "cuda"
  marker = "deform_attn_pallas_gpu_"
  # Each size of block, none of them filled.
  queries = (1, 9, 131)

  def test_is_what_runs(self):
    if reason := pallas_gpu.why_not_here():
      pytest.skip(reason)
    super().test_is_what_runs()


def problem_of(**changes):
  inputs = suite.random_inputs(70)
  return problem.make(*inputs, suite.SHAPES)._replace(**changes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_runs_what_the_model_needs(dtype):
  assert pallas_gpu.why_not(problem_of(dtype=np.dtype(dtype))) is None


@pytest.mark.parametrize(
  "change, reason",
  [
    (dict(dtype=np.dtype("float64")), "float64"),
    (dict(channels=24), "24 channels"),
    (dict(queries=0), "nothing"),
  ],
)
def test_says_what_it_cannot_run(change, reason):
  assert reason in pallas_gpu.why_not(problem_of(**change))


@pytest.mark.parametrize(
  "queries, channels, block", [(1, 32, 8), (4900, 32, 64), (4900, 128, 16)]
)
def test_more_channels_get_smaller_blocks(queries, channels, block):
  assert tiles.block_of(forward.BLOCKS, queries, channels)[0] == block


def test_queries_past_the_end_stay_in_memory(monkeypatch):
  """Which the interpreter forgives and a GPU does not."""
  monkeypatch.setattr(tiles.pl, "program_id", lambda axis: 2)
  queries = np.asarray(tiles.queries_of(131, 64))
  np.testing.assert_array_equal(queries, [128, 129] + [130] * 62)


@pytest.mark.parametrize("far", [-1e30, -1.6, 7.6, 1e30, np.inf, np.nan])
def test_rows_of_far_off_samples_stay_in_memory(far):
  for dx, dy in corners.CORNERS:
    row, *_ = corners.one(jnp.float32(far), jnp.float32(far), dx, dy, 6, 7, 10)
    assert 10 <= row < 10 + 6 * 7


def test_cost_of_every_call_and_name():
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
    # Four corners of a multiplication and an addition per channel, at least.
    assert cost.flops > 8 * inputs[2].size * inputs[0].shape[-1]
    assert cost.bytes_accessed > sum(x.nbytes for x in args)


def test_without_the_backend_says_so_once(monkeypatch, caplog):
  real = builtins.__import__

  def without(name, *args, **kwargs):
    fromlist = args[2] if len(args) > 2 else kwargs.get("fromlist")
    if name == "jax.experimental.pallas" and "triton" in (fromlist or ()):
      raise ImportError("no module triton")
    return real(name, *args, **kwargs)

  with monkeypatch.context() as patch:
    patch.setattr(builtins, "__import__", without)
    patch.setattr(jax, "default_backend", lambda: "gpu")
    crippled = importlib.util.module_from_spec(pallas_gpu.__spec__)
    pallas_gpu.__spec__.loader.exec_module(crippled)
    reasons = {crippled.why_not(problem_of(queries=q)) for q in (70, 71)}
  assert len(reasons) == 1 and "Triton" in reasons.pop()
  assert len(caplog.records) == 1


class TestWithoutAGpuToLowerFor:
  """JAX from 0.11 on, and a CUDA program of a machine without a GPU."""

  @pytest.fixture
  def known(self, monkeypatch):
    """Whether JAX knows a GPU, to be changed; it does not."""
    known = {"gpu": False}

    def get_gpu_info():
      if not known["gpu"]:
        raise ValueError("Unsupported GPU device kind: cpu")

    # JAX 0.10 has none.
    monkeypatch.setattr(
      pallas_gpu.plt, "get_gpu_info", get_gpu_info, raising=False
    )
    return known

  def attend(self, *inputs, **options):
    return deform_attn.deformable_attention(
      *inputs, level_shapes=suite.SHAPES, **options
    )

  def with_gradients(self, *inputs):
    out, pull_back = jax.vjp(self.attend, *inputs)
    return out, pull_back(out)

  def test_xla_is_lowered(self, known):
    inputs = suite.random_inputs(70)
    for function in (
      self.attend,
      self.with_gradients,
      lambda *x: self.attend(*x, implementation=("pallas_gpu", "xla")),
    ):
      text = suite.lowered_text(function, inputs, "cuda")
      assert "deform_attn_xla" in text
      assert "deform_attn_pallas_gpu" not in text

  def test_the_name_alone_says_why(self, known):
    inputs = suite.random_inputs(70)
    named = functools.partial(self.attend, implementation="pallas_gpu")
    # Lowering may be in another context than tracing.
    jax.eval_shape(named, *inputs)
    with pytest.raises(ValueError, match="pallas_gpu on cuda: .*jax.set_mesh"):
      suite.lowered_text(named, inputs, "cuda")

  def test_the_interpreter_needs_none(self, known):
    run = functools.partial(
      self.attend, implementation="pallas_gpu", interpret=True
    )
    text = suite.lowered_text(run, suite.random_inputs(70), "cuda")
    assert "deform_attn_pallas_gpu" in text

  def test_every_lowering_asks_again(self, known):
    for gpu, name in ((False, "xla"), (True, "pallas_gpu"), (False, "xla")):
      known["gpu"] = gpu
      chosen = kernel_choice.explain(problem_of())
      assert chosen["cuda"].name == name
      assert chosen["cpu"].name == "xla"
    [(skipped, reason)] = chosen["cuda"].skipped
    assert skipped == "pallas_gpu" and "device kind: cpu" in reason

  def test_a_slow_gpu_is_told(self, known, monkeypatch, caplog):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    pallas_gpu._warn_once.cache_clear()
    for queries in (70, 71):
      kernel_choice.explain(problem_of(queries=queries))
    pallas_gpu._warn_once.cache_clear()
    assert len(caplog.records) == 1


def test_without_the_question_all_is_well(monkeypatch):
  """JAX 0.10 lowers for some GPU, whatever is there."""
  monkeypatch.delattr(pallas_gpu.plt, "get_gpu_info", raising=False)
  assert pallas_gpu.why_not_here() is None
