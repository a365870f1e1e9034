"""Printed commands can be copied."""

import sys

import pytest

from sgmg_jax.cli import program


@pytest.fixture
def script(tmp_path, monkeypatch):
  """A `sgmg` in a folder of its own, which is the current one's child."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("PATH", "/nowhere")
  path = tmp_path / "my env" / "sgmg"
  path.parent.mkdir()
  path.touch()
  path.chmod(0o755)
  return path


def test_a_script_that_the_shell_finds(script, monkeypatch):
  monkeypatch.setattr(sys, "argv", [str(script)])
  monkeypatch.setenv("PATH", str(script.parent))
  assert program.command() == "sgmg"


def test_a_script_that_the_shell_does_not_find(script, monkeypatch):
  monkeypatch.setattr(sys, "argv", ["my env/sgmg"])
  assert program.command() == "'my env/sgmg'"


def test_another_sgmg_is_not_this_one(script, tmp_path, monkeypatch):
  other = tmp_path / "bin" / "sgmg"
  other.parent.mkdir()
  other.touch()
  other.chmod(0o755)
  monkeypatch.setenv("PATH", str(other.parent))
  monkeypatch.setattr(sys, "argv", [str(script)])
  assert program.command() == f"'{script}'"


def test_a_module(script, monkeypatch):
  monkeypatch.setattr(sys, "argv", ["/lib/sgmg_jax/__main__.py"])
  monkeypatch.setattr(sys, "executable", str(script.parent / "python"))
  assert program.command() == f"'{script.parent}/python' -m sgmg_jax"
  (script.parent / "python").touch()
  (script.parent / "python").chmod(0o755)
  monkeypatch.setenv("PATH", str(script.parent))
  assert program.command() == "python -m sgmg_jax"
