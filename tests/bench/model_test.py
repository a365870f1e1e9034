"""The benchmark measures; its figures make sense."""

import json

import jax
import jax.numpy as jnp
import pytest

from sgmg_jax.bench import breakdown, model
from sgmg_jax.cli import main
from sgmg_jax.errors import UserError


@pytest.mark.slow
def test_figures_of_the_smallest_model(tmp_path, capsys):
  path = tmp_path / "figures.json"
  arguments = "--variant mu --frames 1 --height 144 --width 150 --repeats 2"
  assert (
    main.main(["bench", "model", *arguments.split(), "--json", str(path)]) == 0
  )
  report = json.loads(path.read_text())
  figures = report["figures"]
  assert report["setup"]["variant"] == "mu"
  assert 0 < figures["sentence_seconds"] < 60
  assert figures["further_share"] == pytest.approx(
    figures["sentence_seconds"] / figures["seconds"]
  )
  # The second process finds what the first has compiled.
  assert figures["compile_warm_seconds"] < figures["compile_cold_seconds"]
  assert 0.1 < figures["peak_memory_gb"] < 20
  # The yardstick is known for one size only.
  assert "efficiency" not in figures
  assert "sentence_seconds" in capsys.readouterr().out


def test_efficiency_compares_neighbours(monkeypatch):
  rates, seconds = iter((1.0, 3.0, 5.0)), iter((2.0, 1.0))
  monkeypatch.setattr(model, "_compile_matmul", lambda dtype: None)
  monkeypatch.setattr(model, "_measure_matmul", lambda *_, **__: next(rates))
  monkeypatch.setattr(model, "_median_seconds", lambda *_, **__: next(seconds))
  # Pass one at the mean rate 2, pass two at 4: both 4 units of work.
  expected = {"seconds": 1.5, "matmul_gflops": 3.0, "matmul_work": 4.0}
  assert model._beside_matmul(None, repeats=2) == expected


def test_sizes_that_cannot_run():
  with pytest.raises(UserError, match="144 pixels"):
    model.measure(model.Setup(variant="mu", height=100))
  with pytest.raises(UserError, match="unknown model variant"):
    model.measure(model.Setup(variant="huge"))


def test_operations_are_counted_in_loops_and_branches():
  x = jnp.ones((3, 4))

  def loop(x):
    double = lambda x, _: (jnp.tanh(x @ jnp.ones((4, 4))), None)
    return jax.lax.scan(double, x, length=5)[0]

  def branches(x):
    more = lambda x: loop(x) + loop(x)
    return jax.lax.platform_dependent(x, cpu=more, default=loop)

  count = lambda f, *args: breakdown.count_flops(jax.make_jaxpr(f)(*args).jaxpr)
  assert count(loop, x) == 5 * 2 * 3 * 4 * 4
  assert count(jax.jit(branches), x) == count(loop, x)
  kernel = jnp.ones((3, 3, 4, 8))
  conv = lambda x: jax.lax.conv_general_dilated(
    x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  assert count(conv, jnp.ones((1, 5, 6, 4))) == 2 * 9 * 4 * 8 * 3 * 4


@pytest.mark.slow
def test_breakdown_of_the_smallest_model():
  setup = model.Setup("mu", frames=1, height=144, width=150, repeats=1)
  figures = model.breakdown(setup)
  parts = figures["parts"]
  assert sum(part["share"] for part in parts.values()) == pytest.approx(1)
  assert {"stage 4", "encoder", "patch kernels"} < parts.keys()
  # All parts together do what the whole model does.
  net, params, inputs, tokens = model.random_inputs(setup)
  whole, _, _ = model.steps(net)
  flops = breakdown.count_flops(
    jax.make_jaxpr(whole)(params, inputs, tokens).jaxpr
  )
  assert figures["gflop"] == pytest.approx(flops / 1e9)
