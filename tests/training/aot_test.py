"""Steps compiled for devices that are not here."""

import math
import pathlib
from unittest import mock

import jax
import pytest

from sgmg_jax.cli import compile as compile_cli
from sgmg_jax.cli import main, train
from sgmg_jax.errors import UserError
from sgmg_jax.training import aot, aot_evaluation, tpu_topology

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
  "name, kind, arrangement, chips",
  [
    ("v5e-4", "v5e", "2x2", 4),
    ("v5e-256", "v5e", "16x16", 256),
    ("v6e-32", "v6e", "4x8", 32),
    ("v5p-8", "v5p", "2x2x1", 4),
    ("v5p-128", "v5p", "4x4x4", 64),
    ("v5e:4x4", "v5e", "4x4", 16),
  ],
)
def test_names_of_slices(name, kind, arrangement, chips):
  topology = tpu_topology.parse(name)
  assert topology == (kind, arrangement)
  assert math.prod(map(int, arrangement.split("x"))) == chips


@pytest.mark.parametrize(
  "name", ["v5e", "h100-8", "v5e-12", "v5e-1", "v5p-7", "v5e-4x4", "v5e:16"]
)
def test_names_of_no_slices(name):
  with pytest.raises(UserError, match=f"topology '{name}': expected"):
    tpu_topology.parse(name)


def test_collectives_of_a_program():
  program = """
  %a = f32[4,8]{1,0} all-reduce(f32[4,8]{1,0} %x), replica_groups={}
  %b = (f32[2]{0}, bf16[2,3]{1,0:T(8,128)}) all-reduce(%x, %y)
  %c = ((f32[4]{0}), f32[8]{0}) all-gather-start(f32[4]{0} %z)
  %d = f32[8]{0:T(128)} all-gather-done(%c)
  %e = pred[16]{0} collective-permute(pred[16]{0} %w)
  %f = f32[8]{0} add(%d, %all-reduce.7)
  """
  assert aot.collectives(program) == {
    "all-gather": (1, 32),
    "all-reduce": (2, 128 + 8 + 12),
    "collective-permute": (1, 16),
  }


def _config(spec="refer_ytvos.py:runlocal"):
  return train.load_config(str(CONFIGS / spec))


def test_batches_have_the_shapes_of_the_data():
  config = _config("a2d.py:runlocal")
  batch = aot.abstract_batch(config, _variant(config), (160, 224))
  clips = config.data.batch_size
  assert batch.frames.shape == (clips, 2, 160, 224, 3)
  assert batch.annotated.shape == (clips, 1)
  assert batch.targets.masks.shape == (clips, 1, 160, 224)
  config = _config()
  config.data.expressions_per_clip = 3
  batch = aot.abstract_batch(config, _variant(config), (160, 224))
  assert batch.tokens.shape == (6, 32)
  assert batch.expression_valid.shape == (2, 3) and batch.annotated is None
  config.auxiliary = ("sgmg_jax.pretraining.cell_heads",)
  with pytest.raises(UserError, match="auxiliary: the shapes of labels"):
    aot.abstract_batch(config, _variant(config), (160, 224))


def _variant(config):
  from sgmg_jax.model import variants

  return variants.get_variant(**config.model)


@pytest.mark.slow
def test_the_step_of_a_config_for_two_devices(few_blocks):
  config = few_blocks
  config.mesh.data, config.mesh.fsdp = 1, 2
  report = aot.compile_step(config, jax.devices(), (160, 160))
  memory = report.memory
  # Two moments of all parameters but those of the frozen text encoder.
  assert memory["parameters"] < memory["optimizer"] < 2 * memory["parameters"]
  assert memory["average"] == 0 and memory["activations"] > 1e7
  # The frames of one clip.
  assert memory["batch"] > 2 * 160 * 160 * 3 * 4
  assert report.flops > 1e9
  # Parameters are gathered, gradients reduced; nothing else travels.
  assert set(report.collectives) == {
    "all-gather",
    "all-reduce",
    "reduce-scatter",
  }
  _, gathered = report.collectives["all-gather"]
  assert gathered < 2.1 * memory["parameters"]
  fits = report.largest_batch(report.total_memory)
  assert fits == report.batch_size
  text = compile_cli.describe(report, tpu_topology.parse("v5e-4"))
  assert "fits" in text and "all-gather" in text


@pytest.mark.slow
def test_the_programs_of_an_evaluation(few_blocks):
  config = few_blocks
  config.export.preprocess.window = 3
  results = aot_evaluation.compile_programs(
    config, jax.devices()[0], (144, 160)
  )
  encode, query = results["encode_video"], results["query"]
  # The clip is padded to 4 frames; what one gives the other takes, and text.
  assert encode.memory["inputs"] == 4 * 144 * 160 * 3 + 2 * 4 + 4
  assert encode.memory["outputs"] < query.memory["inputs"]
  assert encode.memory["parameters"] == query.memory["parameters"]
  # The logits of masks, and little else.
  assert 0 <= query.memory["outputs"] - 4 * 144 * 160 * 4 < 2000
  assert encode.flops > 1e7 and query.flops > 1e7
  text = compile_cli.describe_evaluation(
    results, (144, 160), tpu_topology.parse("v5e-4")
  )
  assert "query" in text and text.endswith("of 16.91: fits")


def test_a_step_that_does_not_fit(monkeypatch):
  class Lowered:
    def compile(self, compiler_options):
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 36G of 16G\nmore")

  traced = aot.Traced(mock.Mock(), mock.Mock(), mock.Mock())
  monkeypatch.setattr(aot, "trace", lambda *args: traced)
  monkeypatch.setattr(aot, "lower", lambda *args: Lowered())
  with pytest.raises(UserError, match="not fit .*36G of 16G.: expected a sm"):
    aot.compile_step(_config(), [], (160, 160))


def test_the_largest_batch_is_one_that_devices_can_share():
  memory = dict(parameters=5, optimizer=10, average=0, batch=1, activations=9)
  report = aot.Report(
    dict(data=2, fsdp=2), 8, 2, (160, 160), memory, 1.0, {}, 0.0, 0.0
  )
  # 1.25 a clip of all devices.
  assert report.largest_batch(25.0) == 8
  assert report.largest_batch(36.0) == 16
  assert report.largest_batch(20.0) == 0
  assert report.largest_batch(10.0) == 0


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--topology=v5e"], "expected a slice of v4, v5e"),
    (["--topology=v5e-4", "--frame=150x150"], "multiples of 32"),
    (["--topology=v5e-4", "--frame=96x160"], "at least 144"),
    (["--topology=v5e-4", "--frame=wide"], "expected HEIGHTxWIDTH"),
    (
      ["--topology=v5e-4", "--step=evaluate", "--frame=360x640"],
      "expected multiples of 16",
    ),
    (["--topology=v5e-4", "--frame=00x32"], "expected HEIGHTxWIDTH"),
    (
      ["--topology=v5e-4", "--config.data.batch_size=6"],
      "6 clips cannot be shared by 4 devices",
    ),
  ],
  ids=str,
)
def test_commands_that_fit_nothing(arguments, message, capsys):
  pytest.importorskip("libtpu")
  code = main.main(["compile", "--config=refer_ytvos:runlocal", *arguments])
  assert code == 2
  assert message in capsys.readouterr().err
