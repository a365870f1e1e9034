"""Config files and flags of `sgmg train`."""

import argparse
import pathlib

import pytest

from sgmg_jax.cli import train
from sgmg_jax.errors import UserError

CONFIG = str(pathlib.Path(__file__).parents[2] / "configs/refshapes.py")


def _parse(*args):
  parser = argparse.ArgumentParser(allow_abbrev=False)
  train.add_arguments(parser)
  return parser.parse_args(args)


def test_overrides_are_told_from_options():
  args = _parse(
    f"--config={CONFIG}",
    "--config.seed=3",
    "--workdir",
    "runs/x",
    "--config.total_steps",
    "9",
  )
  assert args.config == CONFIG and args.workdir == "runs/x"
  assert args.overrides == ["--config.seed=3", "--config.total_steps=9"]


def test_other_unknown_options_stay_errors(capsys):
  with pytest.raises(SystemExit):
    _parse(f"--config={CONFIG}", "--workdir=x", "--confg.seed=3")
  assert "--confg.seed" in capsys.readouterr().err


def test_overrides_reach_the_config():
  config = train.load_config(
    CONFIG,
    [
      "--config.schedule.learning_rate=0.25",
      "--config.schedule.drop_steps=(1,2,3)",
      "--config.data.num_frames=3",
    ],
  )
  assert config.schedule.learning_rate == 0.25
  assert config.schedule.drop_steps == (1, 2, 3)
  assert config.data.num_frames == 3
  assert train.load_config(CONFIG).schedule.learning_rate != 0.25


@pytest.mark.parametrize(
  ("spec", "overrides", "message"),
  [
    ("no/such.py", [], "no file no/such.py"),
    (CONFIG, ["--config.sede=1"], "config.sede: no field .* known: .*seed"),
    (CONFIG, ["--config.data.seed=1"], "config.data.seed: no field .*kinds"),
    (CONFIG, ["--config.seed.x=1"], "config.seed.x: no field"),
    (CONFIG, ["--config.optimizer.groups[0]=1"], "groups"),
    (CONFIG, ["--config.seed=abc"], "seed"),
    (CONFIG + ":runlokal", [], "runlokal"),
  ],
)
def test_bad_input_is_one_line(spec, overrides, message):
  with pytest.raises(UserError, match=message) as error:
    train.load_config(spec, overrides)
  assert "\n" not in str(error.value)
