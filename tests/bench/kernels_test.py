"""Kernels are measured at the model's shapes, and the choice is explained."""

import functools
import json

import jax
import numpy as np
import pytest

from sgmg_jax.bench import grid_sample, kernels
from sgmg_jax.cli import main
from sgmg_jax.errors import UserError
from sgmg_jax.kernels import deform_attn

SMALL = "--variant mu --frames 1 --height 96 --width 80"


def test_problems_are_the_models():
  found = kernels.problems(kernels.Setup())
  assert found["encoder"] == (
    5,
    4900,
    8,
    32,
    4,
    ((46, 80), (23, 40), (12, 20), (6, 10)),
    np.float32,
  )
  assert found["decoder"] == found["encoder"]._replace(queries=5)
  with pytest.raises(UserError, match="unknown model variant"):
    kernels.measure(kernels.Setup(variant="huge"))


def test_inputs_are_like_a_trained_models():
  setup = kernels.Setup(variant="mu", frames=2, height=96, width=80)
  for problem in kernels.problems(setup).values():
    values, locations, weights, cotangent = kernels.inputs(problem)
    np.testing.assert_allclose(weights.sum((-2, -1)), 1, rtol=1e-5)
    assert values.shape == (2, problem.size, problem.heads, problem.channels)
    assert cotangent.shape[2] == problem.heads * problem.channels
    outside = np.mean(np.any((locations < 0) | (locations > 1), -1))
    assert 0.1 < outside < 0.9
  # The first query looks round the first pixel.
  problem = kernels.problems(setup)["encoder"]
  locations = kernels.inputs(problem)[1]
  assert np.abs(np.mean(locations[:, 0, :, 0], (0, 1, 2))).max() < 0.3


def test_torch_form_computes_the_same():
  pytest.importorskip("torch")
  setup = kernels.Setup(variant="mu", frames=2, height=96, width=80)
  for problem in kernels.problems(setup).values():
    arrays = kernels.inputs(problem)
    name, forward, gradient = grid_sample.calls(
      *arrays, problem.level_shapes, "bfloat16"
    )
    assert name == "torch float32", "there is no bfloat16 on CPUs"
    attend = functools.partial(
      deform_attn.deformable_attention, level_shapes=problem.level_shapes
    )
    out, pull_back = jax.vjp(attend, *arrays[:3])
    expected = out, *pull_back(arrays[3])
    np.testing.assert_allclose(forward(), out, atol=1e-5)
    for ours, theirs in zip(expected, gradient(), strict=True):
      scale = np.abs(theirs.numpy()).max()
      np.testing.assert_allclose(ours, theirs, atol=1e-5 * scale)


@pytest.mark.slow
def test_figures(tmp_path):
  path = tmp_path / "figures.json"
  command = f"bench kernels {SMALL} --repeats 2 --json {path}"
  assert main.main(command.split()) == 0
  report = json.loads(path.read_text())
  assert report["machine"]["platform"] == "cpu"
  assert list(report["figures"]) == [
    f"{part} {direction}"
    for part in ("encoder", "decoder")
    for direction in ("forward", "forward+backward")
  ]
  for rows in report["figures"].values():
    first = rows[next(iter(rows))]
    assert first["speedup"] == 1 and first["error"] == 0
    ours = rows["xla"]
    assert ours["chosen"] == "yes" and ours["compile_seconds"] > 0
    assert 0 < ours["min_ms"] <= ours["median_ms"]
    assert ours["speedup"] == first["median_ms"] / ours["median_ms"]
    assert ours["error"] < 1e-4


def test_without_torch_xla_is_the_yardstick(monkeypatch):
  monkeypatch.setattr(grid_sample, "installed", lambda: False)
  setup = kernels.Setup("mu", 1, 64, 48, "bfloat16", repeats=1)
  figures = kernels._figures(setup)
  for rows in figures.values():
    assert list(rows)[0] == "xla" and rows["xla"]["speedup"] == 1


def test_explain(capsys, tmp_path):
  path = tmp_path / "choice.json"
  command = f"bench kernels --explain {SMALL} --json {path}"
  assert main.main(command.split()) == 0
  figures = json.loads(path.read_text())["figures"]
  assert figures["encoder"]["cuda"]["chosen"] == "pallas_gpu"
  assert figures["encoder"]["tpu"]["chosen"] == "pallas_tpu"
  # A handful of queries is not worth a kernel.
  assert figures["decoder"]["tpu"]["chosen"] == "xla"
  assert "pallas_tpu: " in figures["decoder"]["tpu"]["skipped"]
  here = figures["compiled here"]["encoder forward"]
  assert "scan" in here["form"] and here["custom_calls"] == "none"
  assert "pallas_tpu" in capsys.readouterr().out


def test_other_parts_have_nothing_to_explain(capsys):
  assert main.main(["bench", "data", "--explain"]) == 2
  assert "--explain: not an option of bench data" in capsys.readouterr().err
