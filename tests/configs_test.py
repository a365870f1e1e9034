"""Every config file loads, plain and shrunk."""

import ast
import pathlib
import sys

import jax
import pytest
from ml_collections import ConfigDict

from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.cli import config_files, train
from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import protocols
from sgmg_jax.model import backbone, variants
from sgmg_jax.training import config_forms, optimizer

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
FILES = sorted(p.name for p in CONFIGS.glob("*.py") if p.name != "common.py")


@pytest.fixture
def common(monkeypatch):
  monkeypatch.syspath_prepend(str(CONFIGS))
  monkeypatch.delitem(sys.modules, "common", raising=False)
  import common

  return common


def _length(config):
  if "phases" in config:
    return sum(steps for _, _, steps, _ in config.phases)
  return config.total_steps


@pytest.mark.parametrize("name", FILES)
def test_loads_and_runlocal_is_smaller(name):
  path = str(CONFIGS / name)
  plain, local = train.load_config(path), train.load_config(path + ":runlocal")
  assert plain.is_locked and local.is_locked
  assert _length(local) < _length(plain)
  assert plain.to_dict().keys() == local.to_dict().keys()
  # A second call knows nothing of the first one's changes.
  plain.seed = 1234
  assert train.load_config(path).seed != 1234


@pytest.mark.parametrize("name", FILES)
def test_docstring_gives_the_command(name):
  text = (CONFIGS / name).read_text()
  pretrains = "pretrain" in train.load_config(str(CONFIGS / name))
  command = "pretrain" if pretrains else "train"
  assert f"sgmg {command} --config={name.removesuffix('.py')}" in text


EVALUATIONS = sorted(p.stem for p in (CONFIGS / "eval").glob("*.py"))


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations_load_and_tell_their_command(name):
  config = config_files.load(f"eval/{name}")
  assert config == config_files.load(str(CONFIGS / f"eval/{name}.py"))
  assert config_files.command_of(config) == "evaluate"
  assert config.data.name == name
  text = (CONFIGS / f"eval/{name}.py").read_text()
  assert f"sgmg evaluate --config=eval/{name} --checkpoint=" in text


def test_every_scored_data_set_has_an_evaluation():
  sisters = {"refcoco+", "refcocog"}
  assert set(protocols.PROTOCOLS) - sisters == set(EVALUATIONS)
  for name in sisters:
    assert config_files.load(f"eval/refcoco:name={name}").data.name == name


def test_commands_refuse_the_configs_of_others():
  config = config_files.load("eval/own")
  with pytest.raises(
    UserError, match="eval/own: it is one for `sgmg evaluate`"
  ):
    config_files.check_command(config, "eval/own", "train")


def test_argument_is_typed(common):
  defaults = dict(res=160, runlocal=False, model="mini")
  assert common.parse_arg(None, **defaults) == defaults
  assert common.parse_arg("res=96,runlocal", **defaults) == dict(
    res=96, runlocal=True, model="mini"
  )
  assert not common.parse_arg("runlocal=False", **defaults)["runlocal"]
  for bad in ("rse=96", "res=x", "runlocal=maybe"):
    with pytest.raises(ValueError):
      common.parse_arg(bad, **defaults)


def _tuples(config, prefix=""):
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _tuples(value, f"{prefix}{name}.")
    elif isinstance(value, tuple):
      yield f"{prefix}{name}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("arg", ["", ":runlocal"])
def test_the_form_of_every_tuple_is_known(name, arg):
  config = train.load_config(str(CONFIGS / name) + arg)
  assert set(_tuples(config)) <= config_forms.FORMS.keys()


@pytest.mark.parametrize("name", config_forms.FORMS)
def test_examples_of_forms_have_them(name):
  form = config_forms.FORMS[name]
  config = ConfigDict()
  *folders, last = name.split(".")
  place = config
  for folder in folders:
    place[folder] = ConfigDict()
    place = place[folder]
  place[last] = ast.literal_eval(form.example)
  config_forms.check(config)


@pytest.mark.parametrize("name", config_forms.COUNTS)
def test_counts_are_positive(name):
  flag = f"--config.{name}"
  with pytest.raises(UserError, match=f"^{name}: expected at least 1, got 0$"):
    train.load_config(str(CONFIGS / "refshapes.py"), [f"{flag}=0"])
  train.load_config(str(CONFIGS / "refshapes.py"), [f"{flag}=1"])


def test_recipes_freeze_the_first_stage_of_a_resnet(common):
  variant = variants.get_variant("mu", backbone="resnet")
  groups = [(name, None) for name in backbone.constants(variant)]
  groups += common.groups(None, "resnet50")
  shapes = {"body": expected_shapes.part("backbone", variant)}
  # One parameter of each of the other groups.
  others = dict.fromkeys(("text_encoder", "query_embed"), {"x": 0})
  trained = optimizer.trainable_mask({"backbone_0": shapes} | others, groups)
  body = trained["backbone_0"]["body"]
  assert not any(jax.tree.leaves([body["conv1"], body["layer1_0"]]))
  assert body["layer2_0"]["conv2"]["kernel"]
  assert not any(body["layer2_0"]["bn2"].values())
