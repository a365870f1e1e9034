"""Deformable attention in plain XLA, and the choice between implementations."""

import functools

import deform_attn_suite as suite
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import (
  kernel_choice,
  pallas_gpu,
  problem,
)
from sgmg_jax.kernels.deform_attn.xla import backward, forward

SHAPES = suite.SHAPES


def attend(*inputs, **options):
  return deform_attn.deformable_attention(
    *inputs, level_shapes=SHAPES, **options
  )


class TestXla(suite.Suite):
  implementation = "xla"
  marker = "deform_attn_xla_"


class TestBest(suite.Suite):
  """Nothing asked for: here, plain XLA."""

  implementation = None
  marker = "deform_attn_xla_"
  queries = (1, 131)


def test_reference_is_torch_in_float64():
  data = np.load(suite.GOLDEN / "deformable_sampling.npz")
  inputs = [data[name] for name in ("value", "locations", "weights")]
  shapes = data["level_shapes"].tolist()
  run = functools.partial(suite.reference, *inputs, level_shapes=shapes)
  suite.close(run(), data["out"], 1e-6)
  for name, gradient in zip(
    ("value", "locations", "weights"), run(data["cotangent"])
  ):
    suite.close(gradient, data[f"grad_{name}"], 1e-6)


def test_reference_gradients_are_finite_differences():
  inputs = [np.float64(x) for x in suite.random_inputs(3, frames=1)]
  cotangent = suite.random_cotangent(inputs)
  gradients = suite.reference(*inputs, cotangent)
  random = np.random.RandomState(0)
  for index in range(3):
    direction = random.standard_normal(inputs[index].shape)
    step = 1e-7 * direction
    ends = []
    for sign in (-1, 1):
      moved = list(inputs)
      moved[index] = moved[index] + sign * step
      ends.append(np.vdot(suite.reference(*moved), cotangent))
    slope = (ends[1] - ends[0]) / 2e-7
    np.testing.assert_allclose(
      np.vdot(gradients[index], direction), slope, rtol=1e-5
    )


@pytest.mark.parametrize("form", [forward.scan, forward.rows, forward.by_level])
def test_forward_forms(form):
  inputs = suite.random_inputs(70)
  out = jax.vmap(functools.partial(form, level_shapes=SHAPES))(*inputs)
  suite.close(out, suite.reference(*inputs), 1e-5)


@pytest.mark.parametrize("chunk_bytes", [2**12, 2**22])
@pytest.mark.parametrize("form", [backward.rows, backward.windows])
def test_backward_forms(form, chunk_bytes, monkeypatch):
  monkeypatch.setattr(backward, "chunk_bytes", lambda: chunk_bytes)
  inputs = suite.random_inputs(131)
  cotangent = suite.random_cotangent(inputs)
  form = functools.partial(form, level_shapes=SHAPES)
  ours = jax.vmap(form)(*inputs, cotangent)
  for gradient, exact in zip(ours, suite.reference(*inputs, cotangent)):
    suite.close(gradient, exact, 1e-5)


@pytest.mark.parametrize(
  "text, kib", [("512K\n", 512), ("0K\n", 1024), ("", 1024), (None, 1024)]
)
def test_chunks_fill_the_cache(text, kib, monkeypatch, tmp_path):
  file = tmp_path / "size"
  if text is not None:
    file.write_text(text)
  monkeypatch.setattr(backward, "_CACHE", file)
  assert backward.chunk_bytes.__wrapped__() == 1024 * kib


@pytest.mark.parametrize("queries", [5, 70])
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_form_of_each_platform(platform, queries):
  inputs = suite.random_inputs(queries)
  run = functools.partial(attend, implementation="xla")
  few = queries < 64
  form = {
    "cpu": "scan",
    "cuda": "by_level",
    "tpu": "rows" if few else "scan",
  }[platform]
  text = suite.lowered_text(run, inputs, platform)
  assert f"deform_attn_xla_forward_{form}" in text
  gradients = jax.grad(lambda *args: run(*args).sum(), (0, 1, 2))
  form = "windows" if platform == "cpu" and not few else "rows"
  text = suite.lowered_text(gradients, inputs, platform)
  assert f"deform_attn_xla_backward_{form}" in text


# A Triton kernel is made for one card, so that a program for unknown ones has
# to do without.
@pytest.mark.parametrize(
  "platforms, implementation",
  [(("cpu", "tpu"), None), (("cpu", "cuda", "tpu"), "xla")],
)
def test_exported_for_several_platforms(platforms, implementation):
  inputs = suite.random_inputs(70)
  run = functools.partial(attend, implementation=implementation)
  gradients = jax.jit(jax.grad(lambda *args: run(*args).sum(), 1))
  exported = export.export(gradients, platforms=platforms)(
    *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs)
  )
  suite.close(exported.call(*inputs), gradients(*inputs), 1e-6)


def test_gradient_keeps_only_the_inputs():
  inputs = suite.random_inputs(70)
  _, pull = jax.vjp(attend, *inputs)
  kept = sorted(x.shape for x in jax.tree.leaves(pull) if np.ndim(x))
  assert kept == sorted(x.shape for x in inputs)


def test_nothing_of_the_choice_remains_in_the_program():
  inputs = suite.random_inputs(70)
  text = jax.jit(attend).lower(*inputs).compile().as_text()
  assert "conditional" not in text
  assert "custom-call" not in text


@pytest.mark.parametrize("name", ["xla", "pallas_gpu", "pallas_tpu"])
def test_implementations_have_the_same_files(name):
  assert callable(kernel_choice.load(name).why_not)
  for direction in ("forward", "backward"):
    assert callable(kernel_choice.load(name, direction).run)


class TestChoice:
  @pytest.fixture(autouse=True)
  def _any_context(self, monkeypatch):
    """Whatever GPU JAX knows here; `pallas_gpu_test` is about that."""
    monkeypatch.setattr(pallas_gpu, "why_not_here", lambda: None)

  def problem(self, queries=70, dtype=np.float32):
    inputs = suite.random_inputs(queries)
    inputs[0] = inputs[0].astype(dtype)
    return problem.make(*inputs, SHAPES)

  def test_xla_runs_everywhere(self):
    chosen = kernel_choice.explain(self.problem(), "xla")
    assert chosen == dict.fromkeys(("cpu", "cuda", "tpu"), ("xla", []))

  def test_kernels_where_they_run_and_pay(self):
    chosen = kernel_choice.explain(self.problem())
    names = {platform: c.name for platform, c in chosen.items()}
    assert names == {"cpu": "xla", "cuda": "pallas_gpu", "tpu": "pallas_tpu"}
    chosen = kernel_choice.explain(self.problem(queries=5))
    assert {c.name for c in chosen.values()} == {"xla"}
    [(skipped, reason)] = chosen["tpu"].skipped
    assert skipped == "pallas_tpu" and "5 queries" in reason

  def test_a_name_is_not_second_guessed(self):
    chosen = kernel_choice.explain(self.problem(queries=5), "pallas_tpu")
    assert chosen["tpu"] == ("pallas_tpu", [])
    assert chosen["cpu"].name is None

  def test_the_first_that_can_run(self):
    names = ("pallas_tpu", "pallas_gpu", "xla")
    chosen = kernel_choice.explain(self.problem(), names)
    assert [c.name for c in chosen.values()] == [
      "xla",
      "pallas_gpu",
      "pallas_tpu",
    ]
    assert [name for name, _ in chosen["cpu"].skipped] == list(names[:2])
    chosen = kernel_choice.explain(self.problem(), names, interpret=True)
    assert {c.name for c in chosen.values()} == {"pallas_tpu"}

  def test_what_a_kernel_cannot_run(self):
    chosen = kernel_choice.explain(self.problem(dtype=np.float16))
    [(skipped, reason)] = chosen["tpu"].skipped
    assert skipped == "pallas_tpu" and "float16" in reason
    inputs = suite.random_inputs(70)
    inputs[0] = inputs[0].astype(np.float16)
    with pytest.raises(ValueError, match="pallas_tpu on tpu: .*float16"):
      attend(*inputs, implementation="pallas_tpu")

  def test_a_kernel_on_the_wrong_platform(self):
    inputs = suite.random_inputs(70)
    run = functools.partial(attend, implementation="pallas_tpu")
    with pytest.raises(ValueError, match="pallas_tpu on cpu: runs on tpu only"):
      jax.jit(run)(*inputs)
    suite.lowered_text(run, inputs, "tpu")
    with pytest.raises(ValueError, match="pallas_tpu on cuda"):
      suite.lowered_text(run, inputs, "cuda")

  @pytest.mark.parametrize("wrong", ["fast", (), ("xla", "fast")])
  def test_unknown(self, wrong):
    with pytest.raises(ValueError, match="implementation"):
      attend(*suite.random_inputs(5), implementation=wrong)


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(values=np.zeros((2, 9, 2, 4))), "values.shape"),
    (dict(values=np.zeros((2, 9))), "values.shape"),
    (dict(locations=np.zeros((2, 64, 2, 3, 3, 3))), "locations.shape"),
    (dict(locations=np.zeros((2, 64))), "locations.shape"),
    (dict(weights=np.zeros((2, 64, 2, 3, 2))), "weights.shape"),
  ],
)
def test_wrong_arguments(change, message):
  arguments = dict(zip(suite.NAMES, suite.random_inputs(64)))
  with pytest.raises(ValueError, match=message):
    attend(*(arguments | change).values())


def test_bfloat16_weights_and_locations_keep_their_dtypes():
  inputs = [jnp.asarray(x, jnp.bfloat16) for x in suite.random_inputs(70)]
  ours = jax.grad(lambda *args: attend(*args).sum(), (0, 1, 2))(*inputs)
  assert {x.dtype for x in ours} == {jnp.dtype(jnp.bfloat16)}
