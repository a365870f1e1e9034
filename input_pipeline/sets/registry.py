"""Registry of data sets: facts by name, and a source, raw or built."""

from __future__ import annotations

import importlib
import inspect
import os
import pathlib
from typing import Any, Final

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source
from sgmg_jax.input_pipeline.sets.about import About

# The folders beside this file, in the order of messages. Only `about.py` of
# each is imported here: some readers want h5py or scipy.
FOLDERS: Final = (
  "refer_ytvos",
  "refer_davis",
  "mevis",
  "a2d",
  "jhmdb",
  "refcoco",
  "refshapes",
  "own",
)


def module(folder: str, part: str) -> Any:
  """A module of a data set's folder, such as its "reader"."""
  return importlib.import_module(f"{__package__}.{folder}.{part}")


ABOUT: Final[dict[str, About]] = {
  name: about
  for about in (module(folder, "about").ABOUT for folder in FOLDERS)
  for name in about.splits
}
NAMES: Final = tuple(ABOUT)


def about(name: str) -> About:
  """The facts of a data set.

  Raises:
    UserError: an unknown name.
  """
  if name not in ABOUT:
    raise UserError(f"data set {name!r}: expected one of {', '.join(NAMES)}")
  return ABOUT[name]


def open_source(
  name: str, path: str | os.PathLike | None, split: str, **options: Any
) -> source.Source:
  """Open one split of a data set.

  Args:
    name: one of `NAMES`.
    path: folder of the raw data as downloaded, or of the built data set: told
      apart by what lies there. RefShapes is drawn unless built there, with
      the same clips.
    split: such as "train"; each reader says which it has.
    options: of the raw reader.

  Raises:
    UserError: an unknown name, no such folder, an option that the reader does
      not have, or what the reader says.
  """
  facts = about(name)
  if path is not None and _built().is_built(path, name):
    if options:
      raise UserError(
        f"{path}: a built data set, which takes no options; got "
        f"{', '.join(options)} for {name}"
      )
    return _built().BuiltSource(path, split, name=name)
  if facts.download and (path is None or not pathlib.Path(path).is_dir()):
    raise UserError(f"{path}: no such folder, expected the data set {name}")
  reader = getattr(module(facts.folder, "reader"), facts.reader)
  arguments = {"dataset": name} if facts.has_sisters else {}
  try:
    inspect.signature(reader).bind(path, split, **options, **arguments)
  except TypeError as e:
    raise UserError(f"data set {name}: {e}") from e
  return reader(path, split, **options, **arguments)


def open_stream(name: str, split: str, **options: Any) -> Any:
  """Open a set whose training clips are drawn by number, without end.

  Returns:
    What gives examples as `batches.loader.DataSet` does.
  """
  return module(about(name).folder, "stream").Stream(split, **options)


def _built() -> Any:
  return importlib.import_module("sgmg_jax.input_pipeline.built.reader")
