"""Fixtures of the training tests."""

import importlib.util
import pathlib

import pytest
from ml_collections import ConfigDict

_OWNER = pathlib.Path(__file__).parents[1] / "input_pipeline/conftest.py"


@pytest.fixture(scope="session")
def miniatures():
  """As the input pipeline's tests have it; tests are no package."""
  spec = importlib.util.spec_from_file_location("miniatures_conftest", _OWNER)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.Miniatures()


@pytest.fixture(scope="session")
def assert_reads_all():
  """Asserts that the modules' sources name every value of a config."""

  def check(modules, config):
    source = "".join(pathlib.Path(m.__file__).read_text() for m in modules)
    for name, value in config.items():
      whole = f"config.{name}" in source
      if isinstance(value, ConfigDict) and f"**config.{name}" not in source:
        whole = all(f"config.{name}.{key}" in source for key in value)
      assert whole, name

  return check
