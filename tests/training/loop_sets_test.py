"""The loop on a data set: resumable in the middle of an epoch."""

import logging
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from sgmg_jax.checkpoints import native
from sgmg_jax.cli import train
from sgmg_jax.errors import UserError
from sgmg_jax.training import checkpoint, loop, metric_writer
from sgmg_jax.training import schedule as schedule_lib

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]


def _config(root, **changes):
  config = train.load_config(
    f"{ROOT}/configs/a2d.py:runlocal", [f"--config.data.root={root}"]
  )
  # Few blocks: nearly all the time here goes into compiling.
  config.model = ConfigDict(
    dict(
      name="mu",
      depths=(1, 1, 1, 1),
      encoder_layers=1,
      decoder_layers=1,
      text_layers=1,
      vocab_size=768,
    )
  )
  config.data.batch_size = 2
  # Its first batches have one shape: one compilation.
  config.seed = 1
  config.data.update(changes)
  return config


@pytest.fixture(scope="module")
def data(miniatures, tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  miniatures.make_a2d(folder)
  return folder


@pytest.fixture(scope="module")
def runs(shared_steps, data, tmp_path_factory):
  """A run of three steps, and one that died after the second."""
  folder = tmp_path_factory.mktemp("runs")
  logger = logging.getLogger("sgmg_jax.training")
  messages = []
  handler = logging.Handler()
  handler.emit = lambda record: messages.append(record.getMessage())
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  loop.train(_config(data), folder / "straight")
  logger.removeHandler(handler)
  shutil.copytree(folder / "straight", folder / "resumed")
  shutil.rmtree(folder / "resumed/checkpoints/3")
  shutil.rmtree(folder / "resumed/model")
  # Not what the straight run had: it must not matter.
  loop.train(_config(data, num_threads=1, prefetch=4), folder / "resumed")
  return folder / "straight", folder / "resumed", messages


def test_resumes_bit_for_bit(runs):
  one, two = (native.load(folder / "model").params for folder in runs[:2])
  jax.tree.map(np.testing.assert_array_equal, one, two)
  lines = [metric_writer.read_metrics(f / "metrics.jsonl") for f in runs[:2]]
  assert [[m["step"] for m in run] for run in lines] == [[1, 2, 3]] * 2
  assert lines[0][2]["total"] == lines[1][2]["total"] > 0


def test_says_which_shapes_it_compiles(runs):
  messages = "\n".join(runs[2])
  assert "batches of 2 clips in 2 shapes: 160x224, 224x160" in messages
  assert "compiling the step for batches of 2x2x160x224x3 ..." in messages
  assert "compiled the step (1 of at most 2) in" in messages


def test_the_checkpoint_holds_the_position(runs):
  checkpointer = checkpoint.Checkpointer(runs[0], keep=2)
  position = checkpointer.read_position()
  checkpointer.close()
  assert position["step"] == 3 and position["plan"]["batch_size"] == 2


def test_a_tree_without_pretraining_trains(data, tmp_path):
  tree = tmp_path / "tree"
  shutil.copytree(
    ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "tests")
  )
  shutil.rmtree(tree / "sgmg_jax/pretraining")
  shutil.rmtree(tree / "input_pipeline/refshapes/labels")
  sizes = {k: v for k, v in _config(data).model.items() if k != "name"}
  command = [
    *(sys.executable, "-m", "sgmg_jax", "train", "--config=a2d:runlocal"),
    f"--workdir={tmp_path}/run",
    f"--config.data.root={data}",
    "--config.data.batch_size=2",
    "--config.total_steps=1",
    "--config.seed=1",
    "--config.model.name=mu",
    *(f"--config.model.{name}={value}" for name, value in sizes.items()),
  ]
  # With two devices it needs what the runs of this file have compiled.
  variables = {"JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(tree)}
  subprocess.run(command, check=True, cwd=tree, env=os.environ | variables)
  assert len(metric_writer.read_metrics(tmp_path / "run/metrics.jsonl")) == 1
  assert (tmp_path / "run/model").is_dir()


def test_other_data_in_the_same_folder_is_refused(runs, data):
  with pytest.raises(UserError, match="saved with num_frames = 2, now 3"):
    loop.train(_config(data, num_frames=3), runs[0])


def test_epochs_become_steps(data):
  config = _config(data)
  config.total_epochs = 2
  config.total_steps = 10**6
  config.schedule.drop_steps = ()
  config.schedule.drop_epochs = (1,)
  clips = config.schedule.batch_size
  total, schedule = schedule_lib.plan_length(config, 10.5, clips)
  assert total == 21
  rate = config.schedule.learning_rate
  assert float(schedule(9)) == pytest.approx(rate)
  assert float(schedule(10)) == pytest.approx(rate / 10)
  _, schedule = schedule_lib.plan_length(config, 10.5, 3 * clips)
  assert float(schedule(0)) == pytest.approx(3 * rate)
  config.schedule.batch_size = 0
  _, schedule = schedule_lib.plan_length(config, 10.5, 3 * clips)
  assert float(schedule(0)) == pytest.approx(rate)
  with pytest.raises(UserError, match="no epochs"):
    schedule_lib.plan_length(config, None, clips)
