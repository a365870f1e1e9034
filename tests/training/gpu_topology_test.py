"""GPUs that are not here: their names, and a step compiled for two of them."""

import importlib.util

import pytest

from sgmg_jax.cli import compile as compile_cli
from sgmg_jax.cli import main
from sgmg_jax.errors import UserError
from sgmg_jax.training import aot, gpu_topology


@pytest.fixture(autouse=True)
def default_share(monkeypatch):
  for variable in ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
    monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
  "name, kind, count", [("h200", "h200", 1), ("rtx4090:2", "rtx4090", 2)]
)
def test_names_of_cards(name, kind, count):
  assert gpu_topology.parse(name) == (kind, count)


@pytest.mark.parametrize("name", ["h300", "h200-8", "h200:0", "h200:2x2", ""])
def test_names_of_no_cards(name):
  with pytest.raises(UserError, match=f"topology '{name}': expected one of h2"):
    gpu_topology.parse(name)


def test_a_program_has_the_share_of_memory_that_jax_takes(monkeypatch):
  card = gpu_topology.CARDS["rtx4090"]
  assert card.memory == 0.75 * card.total_memory
  monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
  assert card.memory == 0.92 * card.total_memory
  monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "all")
  with pytest.raises(UserError, match="XLA_CLIENT_MEM_FRACTION=all: expected"):
    card.memory  # noqa: B018


@pytest.mark.parametrize(
  "topology, message",
  [
    ("h200:8", "CUDA plugin is not installed: pip install sgmg_jax[cuda]"),
    ("h200-8", "topology 'h200-8': expected one of h200, h100"),
    ("h20", "expected a slice of v4, v5e, v5p, v6e, such as v5e-16, or a GPU"),
  ],
)
def test_commands_that_compile_nothing(topology, message, monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  options = ["--config=refer_ytvos:runlocal", f"--topology={topology}"]
  assert main.main(["compile", *options]) == 2
  assert message in capsys.readouterr().err


@pytest.mark.cuda_aot
@pytest.mark.skipif(
  not gpu_topology.installed(),
  reason="needs JAX's CUDA plugin: make test-cuda-aot",
)
def test_the_step_of_a_config_for_two_cards(few_blocks):
  topology = gpu_topology.parse("rtx4090:2")
  report = aot.compile_step(
    few_blocks, topology.devices(), (160, 160), topology.options
  )
  assert report.mesh == {"data": 2, "fsdp": 1}
  assert report.memory["activations"] > 1e7
  assert report.flops > 1e9
  # Gradients are summed; nothing else travels.
  assert set(report.collectives) == {"all-reduce"}
  text = compile_cli.describe(report, topology)
  assert "of 19.04: fits" in text and "of products" in text
