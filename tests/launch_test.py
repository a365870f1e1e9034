"""The scripts in launch/ call commands that exist, with configs that load."""

import pathlib
import subprocess

import pytest

from sgmg_jax.cli import train

ROOT = pathlib.Path(__file__).parents[1]
SCRIPT = ROOT / "launch" / "refshapes_mini.sh"


@pytest.fixture
def commands(tmp_path):
  """Runs the script with a program that only notes its arguments."""

  def run(*args):
    log = tmp_path / "log"
    program = tmp_path / "sgmg"
    program.write_text(
      f"#!/bin/sh\nprintf '%s\\t' \"$@\" >> {log}\necho >> {log}"
    )
    program.chmod(0o755)
    done = subprocess.run(
      ["bash", str(SCRIPT), *args],
      env={"SGMG": str(program), "PATH": "/usr/bin:/bin"},
      capture_output=True,
      text=True,
      check=False,
    )
    lines = log.read_text().splitlines() if log.exists() else []
    return done, [line.rstrip("\t").split("\t") for line in lines]

  return run


def _load(command):
  overrides, rest = train.split_overrides(command[1:])
  path = next(a for a in rest if a.startswith("--config="))
  return train.load_config(str(ROOT / path.partition("=")[2]), overrides)


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_every_step_has_a_config_and_starts_from_the_last(commands, machine):
  done, called = commands("runs/x", machine)
  assert done.returncode == 0, done.stderr
  names = ["pretrain"] * 2 + ["train"] * 3 + ["evaluate"]
  assert [c[0] for c in called] == names
  assert _load(called[-1]).data.num_videos == 0
  assert "--checkpoint=runs/x/stage3/model" in called[-1]
  configs = [_load(c) for c in called[:-1]]
  assert [c.get("init_from") for c in configs] == [
    "",
    None,
    "runs/x/video/model,runs/x/text/model",
    "runs/x/stage1/model",
    "runs/x/stage2/model",
  ]
  sizes = [c.data.batch_size for c in configs[2:]]
  assert sizes == {"cpu": [8, 4, 2], "gpu": [32, 16, 16]}[machine]
  for config in configs[2:]:
    assert config.tokenizer.source == "runs/x/text/tokenizer"
    assert config.schedule.drop_steps[-1] < config.total_steps


def test_another_machine_is_refused(commands):
  done, called = commands("runs/x", "tpu")
  assert done.returncode == 2 and not called
  assert "tpu: expected cpu or gpu" in done.stderr
