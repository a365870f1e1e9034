"""The benchmark measures; its figures make sense."""

import json

import jax
import pytest

from sgmg_jax.bench import model
from sgmg_jax.cli import main
from sgmg_jax.errors import UserError
from sgmg_jax.training import operations


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
  flops = operations.count_flops(
    jax.make_jaxpr(whole)(params, inputs, tokens).jaxpr
  )
  assert figures["gflop"] == pytest.approx(flops / 1e9)
