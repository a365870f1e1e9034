"""Fixtures of the training tests."""

import contextlib
import importlib.util
import pathlib
import signal

import pytest
from ml_collections import ConfigDict

from sgmg_jax.training import interrupt

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


class _StopAfter(interrupt.Stop):
  def __init__(self, num_rests):
    super().__init__()
    self._num_left = num_rests

  @contextlib.contextmanager
  def at_rest(self, save):
    with super().at_rest(save):
      yield
    self._num_left -= 1
    if self._num_left == 0:
      self.request(signal.SIGTERM)


@pytest.fixture(scope="session")
def stop_after():
  """Makes a `Stop` that is requested, as if by SIGTERM, when a run has rested
  so many times: in the middle of a step."""
  return _StopAfter
