"""Config files of `sgmg train` and `sgmg pretrain`: found, listed, loaded."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import pathlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import config_dict

import sgmg_jax
from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.training import config_forms

# `configs/` of the repository, part of the package as files: they import each
# other, and nothing of the package.
FOLDER = pathlib.Path(sgmg_jax.__file__).parent / "configs"
_SHARED = "common"


def names() -> list[str]:
  """Of the configs that come with the package, without suffix; those of
  evaluations begin with "eval/"."""
  files = [p for p in FOLDER.rglob("*.py") if p.stem != _SHARED]
  return sorted(p.relative_to(FOLDER).with_suffix("").as_posix() for p in files)


def find(name: str) -> pathlib.Path:
  """The file of a path, or of a name among `names`.

  Raises:
    UserError: there is none.
  """
  path = pathlib.Path(name).expanduser()
  if path.is_file():
    return path.absolute()
  if name.removesuffix(".py") in names():
    return FOLDER / f"{name.removesuffix('.py')}.py"
  raise UserError(
    f"--config: no file {name}, nor a config of that name; known: "
    f"{', '.join(names())}"
  )


def command_of(config: ConfigDict) -> str:
  """The command that takes a config: train, pretrain or evaluate."""
  if "window" in config:
    return "evaluate"
  return "pretrain" if "pretrain" in config else "train"


def check_command(config: ConfigDict, spec: str, command: str) -> None:
  """Raise a UserError if the config is another command's."""
  if command_of(config) != command:
    raise UserError(
      f"--config {spec}: it is one for `sgmg {command_of(config)}`; `sgmg "
      f"{command} --list` shows others"
    )


def summaries(command: str) -> list[tuple[str, str]]:
  """(name, first line of the docstring) of the configs of one command."""
  found = []
  for name in names():
    if command_of(load(name)) == command:
      docstring = ast.get_docstring(ast.parse(find(name).read_text())) or ""
      found.append((name, docstring.partition("\n")[0]))
  return found


def load(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """The locked config of `file.py[:arg]` or `name[:arg]`.

  Args:
    spec: a file or one of `names`, with an argument for its `get_config`.
    overrides: `--config.key=value` each.

  Raises:
    UserError: no such file, unknown key or argument, or a value of the wrong
      type or form.
  """
  name, _, arg = spec.partition(":")
  config = _run(find(name), spec, arg or None)
  config.lock()
  for override in overrides:
    config = _override(config, override)
  config_forms.check(config)
  return config


@contextlib.contextmanager
def naming_missing_fields() -> Iterator[None]:
  """Turns the use of a field that a config lacks, such as one written before
  the field was, into a UserError."""
  try:
    yield
  except AttributeError as error:
    *_, place = traceback.extract_tb(error.__traceback__)
    if place.filename != config_dict.__file__:
      raise
    name = re.search(r"\w+", str(error)).group()
    raise UserError(
      f"--config: lacks the field {name!r}, expected as in the configs of "
      f"{FOLDER}"
    ) from error


def _run(path: pathlib.Path, spec: str, arg: str | None) -> ConfigDict:
  """What a file's `get_config` gives."""
  try:
    # Resolved: in the tree the package's folder is a link.
    inside = FOLDER.resolve() in path.resolve().parents
    shared = [FOLDER] if inside else []
    with _neighbours(path.parent, *shared):
      module_spec = importlib.util.spec_from_file_location(path.stem, path)
      module = importlib.util.module_from_spec(module_spec)
      module_spec.loader.exec_module(module)
      config = module.get_config(arg) if arg else module.get_config()
  except Exception as error:  # a file may raise anything
    raise UserError(f"--config {spec}: {_reason(error, path)}") from error
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"--config {spec}: get_config gives a {type(config).__name__}, expected "
      "an ml_collections.ConfigDict"
    )
  return config


@contextlib.contextmanager
def _neighbours(*folders: pathlib.Path) -> Iterator[None]:
  """Lets a config import the files of these folders, and forgets them
  afterwards: another folder may have files of the same names."""
  elsewhere = sys.modules.pop(_SHARED, None)
  before = set(sys.modules)
  folders = tuple(dict.fromkeys(folders))
  sys.path[:0] = map(str, folders)
  try:
    yield
  finally:
    for folder in folders:
      sys.path.remove(str(folder))
    for name in set(sys.modules) - before:
      file = getattr(sys.modules[name], "__file__", None)
      if file and pathlib.Path(file).parent in folders:
        del sys.modules[name]
    if elsewhere:
      sys.modules[_SHARED] = elsewhere


def _reason(error: Exception, path: pathlib.Path) -> str:
  """One line; where the config itself is broken, with the line's number."""
  text = (str(error).strip() or type(error).__name__).partition("\n")[0]
  if isinstance(error, ValueError):  # of an argument, see `common.parse_arg`
    return text
  places = traceback.extract_tb(error.__traceback__)
  lines = [place.lineno for place in places if place.filename == str(path)]
  where = f"line {lines[-1]}: " if lines else ""
  return f"{where}{type(error).__name__}: {text}"


def _override(config: ConfigDict, override: str) -> ConfigDict:
  flag, _, value = override.partition("=")
  current = _current(config, flag)
  argv = ["sgmg", override]
  values = flags.FlagValues()
  try:
    config_flags.DEFINE_config_dict(
      "config", config, flag_values=values, sys_argv=argv
    )
    values(argv)
  except (flags.Error, AttributeError, LookupError, TypeError, ValueError):
    if isinstance(current, ConfigDict):
      expected = f"one of its fields, such as {flag}.{next(iter(current), '')}"
    else:
      expected = f"a value like {current!r}"
    raise UserError(f"{flag}: expected {expected}, got {value!r}") from None
  return values.config


def _current(config: ConfigDict, flag: str) -> Any:
  """The field's value; a size of the model may be new.

  Raises:
    UserError: no such field; names its neighbours, ml_collections does not.
  """
  place: Any = config
  # Indices of tuples, as in groups[0], are left to ml_collections.
  path = flag.removeprefix("--config.").partition("[")[0].split(".")
  for name in path:
    known = list(place) if isinstance(place, ConfigDict) else []
    if place is config.get("model"):
      sizes = dataclasses.asdict(variants.Variant())
      known += [size for size in sizes if size not in known]
      if name in sizes and name not in place:
        with place.unlocked():
          place[name] = sizes[name]
    if name not in known:
      raise UserError(
        f"{flag}: no field {name!r} there; known: {', '.join(known) or 'none'}"
      )
    place = place[name]
  return place
