"""Readers report what the doctor knows."""

import ast
import pathlib

import pytest

from sgmg_jax import input_pipeline
from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.doctor import findings


def _reported():
  """(file, code) of every problem in the sources."""
  root = pathlib.Path(input_pipeline.__file__).parent
  for path in root.rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
      if name in ("report", "tell", "log.add", "problems.Problem"):
        # A condition may choose between two.
        for part in ast.walk(node.args[0]):
          if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield path, part.value


def test_the_doctor_knows_every_code():
  found = list(_reported())
  assert len(found) > 50
  assert {code for _, code in found} <= findings.CODES.keys()


def test_a_problem_ends_reading_or_is_found():
  where = {"file": "a.txt", "place": "line 3", "video": "v"}
  with pytest.raises(problems.Problem, match="^a.txt line 3: no number$"):
    problems.stop("malformed", "no number", **where)
  log = findings.Findings()
  log.add("malformed", "no number", **where)
  with log.caught():
    problems.stop("malformed", "no number", **where)
  assert log[0] == log[1]
  assert str(log[0]) == "a.txt, video 'v': line 3: no number"


def test_findings_name_each_place_once():
  log = findings.Findings()
  log.add("malformed", "video 'v' has no end", file="a.txt", video="v")
  assert str(log[0]) == "a.txt: video 'v' has no end"
