"""Miniature data sets for the tests of readers, builders and pipelines."""

import importlib.util
import pathlib

import pytest

FOLDER = pathlib.Path(__file__).parent / "miniatures"


class Miniatures:
  """Attribute `make_x` is the function of that name in miniatures/make_x.py.

  Tests are no package, so each file is loaded by path when first asked for.
  """

  def __init__(self):
    self._makers = {}

  def __getattr__(self, name: str):
    if not name.startswith("make_"):
      raise AttributeError(name)
    if name not in self._makers:
      path = FOLDER / f"{name}.py"
      spec = importlib.util.spec_from_file_location(f"miniatures_{name}", path)
      module = importlib.util.module_from_spec(spec)
      spec.loader.exec_module(module)
      self._makers[name] = getattr(module, name)
    return self._makers[name]


@pytest.fixture(scope="session")
def miniatures():
  """Makers of miniature data sets: `miniatures.make_mevis(tmp_path)`."""
  return Miniatures()
