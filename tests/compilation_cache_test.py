"""The persistent cache: on by default, and never against the user."""

import jax
import pytest

from sgmg_jax import compilation_cache


@pytest.fixture(autouse=True)
def _restored():
  before = jax.config.jax_compilation_cache_dir
  jax.config.update("jax_compilation_cache_dir", None)
  yield
  jax.config.update("jax_compilation_cache_dir", before)


def test_default_folder(monkeypatch):
  monkeypatch.delenv("SGMG_CACHE_DIR")
  monkeypatch.setenv("HOME", "/home/someone")
  compilation_cache.enable()
  expected = "/home/someone/.cache/sgmg_jax/compiled"
  assert jax.config.jax_compilation_cache_dir == expected


def test_folder_of_the_environment(monkeypatch, tmp_path):
  monkeypatch.setenv("SGMG_CACHE_DIR", str(tmp_path))
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / "compiled")


def test_empty_turns_it_off(monkeypatch):
  monkeypatch.setenv("SGMG_CACHE_DIR", "")
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir is None


def test_the_users_own_setting_stays():
  jax.config.update("jax_compilation_cache_dir", "/mine")
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir == "/mine"
