"""The benchmark measures; its figures make sense."""

import json

import pytest

from sgmg_jax.bench import model
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


def test_sizes_that_cannot_run():
  with pytest.raises(UserError, match="144 pixels"):
    model.measure(model.Setup(variant="mu", height=100))
  with pytest.raises(UserError, match="unknown model variant"):
    model.measure(model.Setup(variant="huge"))
