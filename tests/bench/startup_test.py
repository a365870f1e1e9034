"""The first answer of `sgmg segment` is timed from the process's start."""

import json

import pytest

from sgmg_jax.bench import startup
from sgmg_jax.cli import main
from sgmg_jax.errors import UserError


@pytest.mark.slow
def test_figures_of_the_smallest_model(tmp_path, capfd):
  path = tmp_path / "figures.json"
  command = "bench startup --variant mu --height 144 --width 144 --frames 1"
  arguments = [*command.split(), "--repeats", "1", "--json", str(path)]
  assert main.main(arguments) == 0
  figures = json.loads(path.read_text())["figures"]
  for name in ("python", "import", "load_import", "help"):
    assert figures[f"{name}_seconds"] > 0
  rows = figures["mu"]
  for row in rows.values():
    parts = [row[k] for k in ("import", "load", "trace", "compile", "run")]
    assert min(parts) > 0 and sum(parts) == pytest.approx(row["first_mask"])
    assert row["first_mask"] < row["everything"]
  # Not a race: the one compiles what the other reads.
  assert rows["warm"]["compile"] < rows["cold"]["compile"]
  assert "first_mask" in capfd.readouterr().out


def test_unknown_variant():
  with pytest.raises(UserError, match="unknown model variant"):
    startup.measure(startup.Setup(variant="huge"))
