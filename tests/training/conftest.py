"""Fixtures of the training tests."""

import importlib.util
import pathlib

import pytest

_OWNER = pathlib.Path(__file__).parents[1] / "input_pipeline/conftest.py"


@pytest.fixture(scope="session")
def miniatures():
  """As the input pipeline's tests have it; tests are no package."""
  spec = importlib.util.spec_from_file_location("miniatures_conftest", _OWNER)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.Miniatures()
