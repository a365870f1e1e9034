"""The benchmark of the pipeline measures; its figures make sense."""

import json
import sys

import pytest

from sgmg_jax.cli import main


@pytest.mark.slow
def test_figures(tmp_path):
  path = tmp_path / "figures.json"
  command = "bench data --frames 2 --height 240 --width 320 --repeats 4"
  assert main.main([*command.split(), "--json", str(path)]) == 0
  report = json.loads(path.read_text())
  assert report["setup"]["quality"] == 90
  figures = report["figures"]
  shares = {k: v for k, v in figures.items() if k.startswith("share/")}
  assert sum(shares.values()) == pytest.approx(1)
  assert {"share/decode JPEG", "share/RandomResizeCrop"} <= shares.keys()
  assert figures["floor_per_core_second"] > figures["clips_per_core_second"] > 0
  for threads in ("1_thread", "2_threads"):
    assert figures[f"first_batch_seconds/{threads}"] > 0
    assert 0.1 < figures[f"peak_memory_gb/{threads}"] < 10


def test_refuses_options_of_the_other_part(capsys):
  assert main.main(["bench", "data", "--variant", "mu"]) == 2
  assert "--variant: not an option of bench data" in capsys.readouterr().err


def test_missing_tensorflow_is_one_line(monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  assert main.main(["bench", "data"]) == 2
  assert capsys.readouterr().err == (
    "sgmg: error: bench data needs TensorFlow: pip install tensorflow (part of "
    "the extra sgmg_jax[data])\n"
  )
