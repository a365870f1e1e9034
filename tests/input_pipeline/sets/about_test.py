"""Every data set's folder is listed, and the docs say what it says."""

import pathlib
import re

import pytest

from sgmg_jax.cli import config_files
from sgmg_jax.input_pipeline.batches import recipes
from sgmg_jax.input_pipeline.sets import registry

ROOT = pathlib.Path(__file__).parents[3]


def test_every_folder_is_listed():
  found = {f.parent.name for f in ROOT.glob("input_pipeline/sets/*/about.py")}
  assert found == set(registry.FOLDERS)
  assert {about.folder for about in registry.ABOUT.values()} == found


def test_what_is_looked_for_has_a_doctor():
  for about in registry.ABOUT.values():
    doctor = ROOT / "input_pipeline/sets" / about.folder / "doctor.py"
    assert doctor.exists() == bool(about.looked_for)
    assert bool(about.layout_of) == bool(about.called)
    assert about.layout_of in ("", *registry.FOLDERS)


@pytest.mark.parametrize("folder", registry.FOLDERS)
def test_docs_say_the_same(folder):
  about = registry.about(folder)
  lines = (ROOT / "docs/data_sets.md").read_text().splitlines()
  (row,) = [line for line in lines if line.startswith(f"| `{folder}`")]
  names, download, _, splits = row.strip("| ").split(" | ")
  assert re.findall("`(.*?)`", names) == list(about.splits)
  for address in re.findall(r"\((https?://.*?)\)", download):
    assert address in about.download
  for split in {
    split for several in about.splits.values() for split in several
  }:
    assert re.search(rf"\b{split}\b", splits)


def test_configs_name_every_set_that_may_run_backwards():
  """They import no package, so they list the names themselves."""
  config = config_files.load("refer_ytvos")
  assert set(config.data.reverse) == set(recipes.VIDEOS)
