"""The machine's description, reports as text, and processes of their own."""

import json
import os
import pathlib

import pytest

from sgmg_jax import errors
from sgmg_jax.bench import report


def test_description_holds_what_a_report_needs():
  plain = report.describe(device=False)
  assert plain["processor"] and plain["memory_gb"] > 0
  assert 1 <= plain["cores"] <= os.cpu_count()
  assert "jax" not in plain
  full = report.describe()
  assert full["platform"] == "cpu" and full["device"] and full["jax"]
  assert json.loads(json.dumps(full)) == full


def test_text_has_lists_and_tables():
  text = report.as_text(
    {
      "setup": {"frames": 5},
      "figures": {
        "seconds": 1.25,
        "forms": {"torch": {"ms": 100.0}, "xla": {"ms": 8.0, "note": "best"}},
        "reasons": {"tpu": "no such device", "error": 2e-6},
      },
    }
  )
  assert text.splitlines() == [
    "setup",
    "  frames                        5",
    "figures",
    "  seconds                       1.250",
    "",
    "  forms",
    "              ms  note",
    "  torch  100.000",
    "  xla      8.000  best",
    "",
    "  reasons",
    "  tpu    no such device",
    "  error  2.0e-06",
  ]


@pytest.fixture
def child(tmp_path, monkeypatch):
  """A module `child`, whose `reply(argument)` is the text given."""

  def write(reply):
    (tmp_path / "child.py").write_text(
      "import os, sys\n"
      "from sgmg_jax import errors\n"
      "from sgmg_jax.bench import report\n"
      f"def reply(argument):\n  {reply}\n"
      "print('noise')\n"
      "report.answer(reply)\n"
    )

  root = pathlib.Path(report.__file__).parents[2]
  monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{root}")
  return write


def test_process_of_its_own(child, monkeypatch):
  child("return [argument, *map(os.environ.get, ('ANSWER', 'REMOVED'))]")
  monkeypatch.setenv("REMOVED", "1")
  variables = {"ANSWER": "42", "REMOVED": None}
  found = report.in_process("child", {"a": 1}, variables)
  assert found == [{"a": 1}, "42", None]


@pytest.mark.parametrize(
  "reply, message",
  [
    (
      "raise errors.UserError('frames 0: expected 1')",
      "^frames 0: expected 1$",
    ),
    ("os.kill(os.getpid(), 9)", "^child was killed: too little memory"),
    ("raise MemoryError('9 TiB')", "^out of memory: 9 TiB$"),
    ("raise RuntimeError('RESOURCE_EXHAUSTED: 9')", "^out of memory: RES.*9$"),
    ("sys.exit(7)", "^child failed with code 7$"),
    ("raise KeyError(1)", "^child failed with code 1$"),
  ],
)
def test_its_failure_is_one_line(child, reply, message):
  child(reply)
  with pytest.raises(errors.UserError, match=message):
    report.in_process("child", None)


def test_median():
  calls = []
  assert report.median_seconds(lambda: calls.append(0), repeats=3) >= 0
  assert len(calls) == 3
