"""The benchmark of the metrics measures; its figures make sense."""

import json

import pytest

from sgmg_jax.bench import metrics
from sgmg_jax.cli import main


def test_figures(tmp_path, monkeypatch):
  monkeypatch.setattr(metrics, "_SIZES", ((96, 170), (120, 214)))
  path = tmp_path / "figures.json"
  command = "bench metrics --repeats 2 --videos 1 --frames 3"
  assert main.main([*command.split(), "--json", str(path)]) == 0
  figures = json.loads(path.read_text())["figures"]
  assert figures["reference"].startswith("davis2017-evaluation's steps")
  assert figures["largest_difference"] == 0
  for name in ("blob 96x170", "object 96x170", "tiny 120x214"):
    row = figures[name]
    reference = row["reference_J_ms"] + row["reference_F_ms"]
    faster = pytest.approx(reference / row["J_and_F_ms"])
    assert row["faster_than_both"] == faster
  davis = figures["davis"]
  assert davis["label_maps"] == 12
  assert davis["seconds_of_30_videos"] == pytest.approx(30 * davis["seconds"])


def test_nonsense_is_refused(capsys):
  assert main.main(["bench", "metrics", "--videos", "0"]) == 2
  assert "--videos 0: expected >= 1" in capsys.readouterr().err
