"""Opens a data set by name, raw or built."""

from __future__ import annotations

import importlib
import inspect
import os
import pathlib
from typing import Any

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source

# Name -> module, class and arguments. Modules are imported when needed:
# some want h5py or scipy, built ones TensorFlow Datasets.
_READERS: dict[str, tuple[str, str, dict[str, Any]]] = {
  "refer_ytvos": ("refer_ytvos", "ReferYTVOS", {}),
  "refer_davis": ("refer_davis", "ReferDAVIS", {}),
  "mevis": ("mevis", "MeViS", {}),
  "a2d": ("a2d", "A2D", {}),
  "jhmdb": ("jhmdb", "JHMDB", {}),
  "refcoco": ("refcoco", "RefCOCO", {"dataset": "refcoco"}),
  "refcoco+": ("refcoco", "RefCOCO", {"dataset": "refcoco+"}),
  "refcocog": ("refcoco", "RefCOCO", {"dataset": "refcocog"}),
  "refshapes": ("refshapes", "RefShapes", {}),
  "own": ("refer_ytvos", "OwnData", {}),
}
NAMES = tuple(_READERS)
# Needs no folder.
_DRAWN = "refshapes"


def open_source(
  name: str, path: str | os.PathLike | None, split: str, **options: Any
) -> source.Source:
  """Opens one split of a data set.

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
  if name not in _READERS:
    raise UserError(f"data set {name!r}: expected one of {', '.join(NAMES)}")
  if path is not None and _built().is_built(path, name):
    if options:
      raise UserError(
        f"{path}: a built data set, which takes no options; got "
        f"{', '.join(options)} for {name}"
      )
    return _built().BuiltSource(path, split, name=name)
  if name != _DRAWN and (path is None or not pathlib.Path(path).is_dir()):
    raise UserError(f"{path}: no such folder, expected the data set {name}")
  module, reader, arguments = _READERS[name]
  reader_class = getattr(_reader(module), reader)
  try:
    inspect.signature(reader_class).bind(path, split, **options, **arguments)
  except TypeError as e:
    raise UserError(f"data set {name}: {e}") from e
  return reader_class(path, split, **options, **arguments)


def _reader(name: str) -> Any:
  return importlib.import_module(f"{__package__}.{name}.reader")


def _built() -> Any:
  return importlib.import_module("sgmg_jax.input_pipeline.built.reader")
