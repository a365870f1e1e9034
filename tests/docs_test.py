"""What the documentation names exists, and its commands are understood."""

import argparse
import importlib
import pathlib
import re
import shlex

import pytest

from sgmg_jax.cli import main as cli

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "sgmg_jax|input_pipeline|kernels|configs|docs|launch|tests"


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request):
  return request.param


def test_links_and_files_exist(page):
  text = page.read_text()
  links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
  files = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)
  missing = [name for name in links if not (page.parent / name).exists()]
  missing += [name for name in files if not (ROOT / name).exists()]
  assert not missing


def test_sections_exist(page):
  for name, anchor in re.findall(r"\]\(([^):]*)#([^)]+)\)", page.read_text()):
    text = (page.parent / name if name else page).read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    slugs = [
      re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings
    ]
    assert anchor in slugs


def commands(text):
  """`sgmg …` lines of the blocks of shell commands, without comments; those in
  loops over variables are left out."""
  for block in re.findall(r"```sh\n(.*?)```", text, re.S):
    for line in block.replace("\\\n", " ").splitlines():
      words = shlex.split(line, comments=True)
      if words[:1] == ["sgmg"] and "$" not in line:
        yield words[1:]


def test_commands_are_understood(page):
  for name, *words in commands(page.read_text()):
    parser = argparse.ArgumentParser(prog=f"sgmg {name}")
    importlib.import_module(f"sgmg_jax.cli.{name}").add_arguments(parser)
    # Exits with a message where it does not.
    parser.parse_args(words)
    assert name in cli.COMMANDS
