"""Commands printed in documents, configs and help parse, and load."""

import argparse
import ast
import pathlib
import re
import shlex

import pytest

from sgmg_jax.checkpoints import native
from sgmg_jax.cli import config_files, main, train

ROOT = pathlib.Path(__file__).parents[1]
TEXTS = [
  *(ROOT / "configs").rglob("*.py"),
  *(ROOT / "sgmg_jax/cli").glob("*.py"),
  *(ROOT / "docs").glob("*.md"),
  ROOT / "README.md",
]
# Started elsewhere: what launch/refshapes_mini.sh or an earlier stage leaves.
_LEFT_BY_OTHERS = ("runs/refcoco/model", "runs/refer_ytvos/model")


def _text(path):
  """What is printed: of a module its strings."""
  text = path.read_text()
  if path.suffix != ".py":
    return text
  nodes = ast.walk(ast.parse(text))
  return "\n".join(
    node.value
    for node in nodes
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
  )


def commands(path):
  """Argument lists of the lines that are commands, continued ones joined."""
  text = re.sub(r"\\\n\s*", " ", _text(path))
  for line in text.splitlines():
    line = line.strip()
    if re.match(r"sgmg [a-z]", line) and "..." not in line:
      # Optional parts, for loops and the like are no single commands.
      if not re.search(r"[$\[`]", line):
        yield shlex.split(line, comments=True)[1:]


def _cases():
  for path in sorted(TEXTS):
    for number, command in enumerate(commands(path)):
      yield pytest.param(path, command, id=f"{path.name}-{number}")


@pytest.mark.parametrize("path, command", _cases())
def test_parses(path, command):
  del path
  name, *rest = command
  assert name in main.COMMANDS
  parser = argparse.ArgumentParser(allow_abbrev=False)
  main._command(name).add_arguments(parser)
  args = parser.parse_args(rest)  # exits where it does not parse
  if name in ("train", "pretrain"):
    config = train.load_config(args.config, args.overrides)
    assert ("pretrain" in config) == (name == "pretrain")
    assert bool(config.get("init_from")) or not config.get("init_required")
  if name == "evaluate":
    config = config_files.load(args.config, args.overrides)
    assert config_files.command_of(config) == name


def _outputs(path):
  for name, *rest in commands(path):
    if name == "convert":
      yield [word for word in rest if not word.startswith("--")][1]
    for word in rest if name in ("train", "pretrain") else ():
      if word.startswith("--workdir="):
        yield word.removeprefix("--workdir=") + "/model"


@pytest.mark.parametrize("path, command", _cases())
def test_what_it_starts_from_is_made_beside_it(path, command):
  known = {*native.bundled(), *_outputs(path), *_LEFT_BY_OTHERS}
  if path.name.startswith("refshapes"):
    for other in (ROOT / "configs").glob("refshapes*.py"):
      known |= set(_outputs(other))
  for word in command:
    if word.startswith("--config.init_from="):
      assert set(word.partition("=")[2].split(",")) <= known


def test_weights_of_earlier_stages_are_what_these_leave():
  stages = ("refcoco_pretrain", "refer_ytvos")
  made = [set(_outputs(ROOT / f"configs/{name}.py")) for name in stages]
  assert set(_LEFT_BY_OTHERS) <= set.union(*made)


def test_commands_are_found():
  found = {
    path.relative_to(ROOT).as_posix().removeprefix("docs/"): len(
      list(commands(path))
    )
    for path in TEXTS
  }
  assert found["README.md"] >= 8 and found["own_data.md"] >= 5
  assert all(
    found[f"configs/{name}.py"] >= 2 for name in ("a2d", "refer_ytvos")
  )
