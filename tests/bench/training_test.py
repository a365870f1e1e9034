"""The benchmarks of training and of whole videos measure; their figures make
sense."""

import json

import jax
import jax.numpy as jnp
import pytest

from sgmg_jax.bench import breakdown, segment, training
from sgmg_jax.cli import main
from sgmg_jax.errors import UserError
from sgmg_jax.training import sharding

SIZE = "--frames 1 --height 144 --width 150 --repeats 1"


def figures_of(arguments, path):
  assert main.main(["bench", *arguments.split(), "--json", str(path)]) == 0
  return json.loads(path.read_text())["figures"]


@pytest.mark.slow
def test_a_training_step(tmp_path, monkeypatch):
  # Nearly all the time here goes into compiling.
  monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
  arguments = f"training --variant mu {SIZE} --remat"
  figures = figures_of(arguments, tmp_path / "figures.json")
  assert 0 < figures["seconds"] < 60
  assert figures["clips_per_second"] == pytest.approx(1 / figures["seconds"])
  assert 0 < figures["program_gb"] < figures["peak_memory_gb"] < 20


def test_the_step_takes_a_clip_for_each_device():
  mesh = sharding.make_mesh(len(jax.devices()))
  setup = training.Setup("mu", frames=2, height=144, width=150)
  _, state, batch = training.program(setup, mesh)
  assert batch.frames.shape == (mesh.size, 2, 160, 160, 3)
  assert batch.frames.sharding == sharding.batch(mesh)
  assert jax.tree.leaves(state.params)[0].sharding.is_fully_replicated


@pytest.mark.slow
def test_a_whole_video(tmp_path):
  figures = figures_of(f"segment --variant mu {SIZE}", tmp_path / "f.json")
  # The whole folder holds more than the masks.
  assert figures["folder_seconds"] > figures["segment_seconds"]
  assert figures["decode_seconds"] > 0 and figures["png_seconds"] > 0
  masks, folder = (
    figures[f"{name}_frames_per_second"] for name in ("mask", "folder")
  )
  assert 0 < folder < masks


@pytest.mark.parametrize("bench", [segment, training])
def test_sizes_that_cannot_run(bench):
  with pytest.raises(UserError, match="144 pixels"):
    bench.measure(bench.Setup(variant="mu", height=100))
  with pytest.raises(UserError, match="unknown model variant"):
    bench.measure(bench.Setup(variant="huge"))


def test_a_part_with_its_backward_pass():
  setup = training.Setup("mu", repeats=1)
  parts = breakdown._Parts(setup, backward=True)
  product = lambda x, y, count: (x @ y, count + 1)
  inputs = jnp.ones((16, 32)), jnp.ones((32, 8)), jnp.int32(0)
  _, count = parts.run("trained", product, *inputs)
  parts.run("frozen", product, *inputs, frozen=True)
  assert count == 1
  rows = parts.table()["parts"]
  flops = 2e-9 * 16 * 32 * 8
  # The product, and the gradients of both factors.
  assert rows["trained"]["gflop"] == pytest.approx(3 * flops)
  assert rows["frozen"]["gflop"] == pytest.approx(flops)
  assert rows["frozen"]["backward_ms"] == 0
  for row in rows.values():
    both = row["forward_ms"] + row["backward_ms"]
    assert row["ms"] == pytest.approx(both)
