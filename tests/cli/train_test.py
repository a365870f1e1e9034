"""Config files and flags of `sgmg train`."""

import argparse
import dataclasses
import pathlib
import shutil
import sys

import pytest

from sgmg_jax import compilation_cache
from sgmg_jax.cli import config_files, main, train
from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.training import interrupt

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


def test_a_field_that_a_config_lacks_is_named(tmp_path, capsys):
  path = tmp_path / "mine.py"
  path.write_text(
    "from ml_collections import ConfigDict\n"
    "get_config = lambda: ConfigDict(dict(init_requird=()))\n"
  )
  code = main.main(["train", f"--config={path}", f"--workdir={tmp_path}/run"])
  assert code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("sgmg: error: --config: lacks the field 'init_requir")
  assert not (tmp_path / "run").exists()


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


def test_sizes_of_the_model_are_overridden():
  config = train.load_config(
    "refer_ytvos",
    [
      "--config.model.name=mini",
      "--config.model.width=32",
      "--config.model.dropout=0.25",
      "--config.model.depths=(1,1,2,1)",
    ],
  )
  variant = variants.get_variant(**config.model)
  assert variant == dataclasses.replace(
    variants.VARIANTS["mini"], width=32, dropout=0.25, depths=(1, 1, 2, 1)
  )


@pytest.mark.parametrize(
  ("spec", "overrides", "message"),
  [
    ("no/such.py", [], "no file no/such.py, nor .*known: a2d, .*refer_ytvos"),
    (CONFIG, ["--config.sede=1"], "config.sede: no field .* known: .*seed"),
    (CONFIG, ["--config.data.seed=1"], "config.data.seed: no field .*kinds"),
    (CONFIG, ["--config.seed.x=1"], "config.seed.x: no field"),
    (CONFIG, ["--config.optimizer.groups[0]=1"], "groups.0.: expected a value"),
    (CONFIG, ["--config.seed=abc"], "config.seed: expected a value like 0"),
    (CONFIG, ["--config.data=1"], "one of its fields, such as --config.data."),
    (CONFIG, ["--config.model.widht=1"], "no field 'widht' .*known: .*width"),
    (
      CONFIG,
      ["--config.model.width=x"],
      "width: expected .*256, got 'x'",
    ),
    (
      CONFIG + ":runlokal",
      [],
      "'runlokal'; known: runlocal, model=mini",
    ),
    (CONFIG + ":stage=one", [], "'stage=one': expected stage=0"),
    ("refer_ytvos:help", [], "takes runlocal, .*mix=ytvos, scratch"),
    ("refer_ytvos:scratch=1", [], "'scratch=1': expected True or False"),
    # A forgotten comma, bracket or field is still a tuple.
    (
      "refer_ytvos",
      ["--config.optimizer.groups=('.*', 1.0)"],
      r"optimizer.groups: .*None\) each, such as .*got \('\.\*', 1.0\)",
    ),
    (
      "refer_ytvos",
      ["--config.data.sets=own"],
      r"data.sets: .*such as .\(\('own','my_data',1\),\)., got \('own',\)",
    ),
    (
      "refer_ytvos",
      ["--config.data.sets=(('own','x'),)"],
      "sets: .*listed",
    ),
    (
      "refer_ytvos",
      ["--config.data.buckets=(320,640)"],
      "buckets: .*width",
    ),
    ("refer_ytvos", ["--config.schedule.drop_steps=3.5"], "steps: .*a step"),
    ("refer_ytvos", ["--config.reinitialise=3"], "reinitialise: .*regular"),
    ("refshapes_video", ["--config.phases=(1,2,3,0.1)"], "phases: .*steps"),
  ],
)
def test_bad_input_is_one_line(spec, overrides, message):
  with pytest.raises(UserError, match=message) as error:
    train.load_config(spec, overrides)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("def get_config(\n", "own.py: SyntaxError"),
    ("import common\n", "own.py: line 1: ModuleNotFoundError: .*common"),
    ("def get_config():\n  return nothing\n", "line 2: NameError: .*nothing"),
    ("x = 1\n", "own.py: AttributeError: .*get_config"),
    ("def get_config():\n  return 3\n", "gives a int, expected an ml_coll"),
  ],
)
def test_a_broken_file_is_one_line(tmp_path, text, message):
  (tmp_path / "own.py").write_text(text)
  with pytest.raises(UserError, match=message) as error:
    train.load_config(str(tmp_path / "own.py"))
  assert "\n" not in str(error.value)


def test_a_file_imports_its_own_neighbours(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "common", sys)  # somebody else's
  train.load_config("refer_ytvos")
  (tmp_path / "common.py").write_text("SEED = 7\n")
  (tmp_path / "mine.py").write_text(
    "import common\nfrom ml_collections import ConfigDict\n"
    "def get_config():\n  return ConfigDict(dict(seed=common.SEED))\n"
  )
  assert train.load_config(str(tmp_path / "mine.py")).seed == 7
  assert train.load_config("refer_ytvos").seed == 0
  assert sys.modules["common"] is sys


def test_bundled_configs_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ("refer_ytvos:scratch", "refer_ytvos.py:scratch"):
    assert train.load_config(name).total_epochs == 9
  # What lies there comes first.
  shutil.copy(CONFIG, tmp_path / "a2d.py")
  shutil.copy(pathlib.Path(CONFIG).parent / "common.py", tmp_path)
  assert train.load_config("a2d.py").data.kind == "refshapes"
  assert train.load_config("a2d").data.kind == "sets"


@pytest.mark.parametrize("command", ["train", "pretrain", "evaluate"])
def test_list_shows_each_config_in_a_line(command, capsys):
  with pytest.raises(SystemExit) as done:
    main.main([command, "--list"])
  assert not done.value.code
  lines = dict(
    line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()
  )
  names = set(config_files.names())
  evaluations = {name for name in names if name.startswith("eval/")}
  pretrained = {"refshapes_text", "refshapes_video"}
  shown = {
    "train": names - evaluations - pretrained,
    "pretrain": pretrained,
    "evaluate": evaluations,
  }[command]
  assert lines.keys() == shown
  assert all(len(line) > 20 for line in lines.values())


@pytest.mark.parametrize(
  ("raised", "code", "line"),
  [
    (None, 0, ""),
    (FloatingPointError("not finite in step 8: loss"), 1, "error: not finite"),
    (interrupt.Interrupted(15, "SIGTERM: step 3 is saved"), 143, "SIGTERM: s"),
  ],
)
def test_how_a_training_ends_is_said_and_returned(
  monkeypatch, capsys, raised, code, line
):
  monkeypatch.setattr(compilation_cache, "enable", lambda: None)

  def fake(config, workdir, stop):
    assert (config, workdir) == ("config", "runs/x")
    if raised:
      raise raised

  args = argparse.Namespace(workdir="runs/x")
  assert train.start(fake, "config", args) == code
  stderr = capsys.readouterr().err
  assert stderr.startswith(f"sgmg: {line}" if line else "")
  assert stderr.count("\n") == (1 if line else 0)
