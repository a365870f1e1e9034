"""The machine's description, reports as text, and processes of their own."""

import json
import os

from sgmg_jax.bench import machine


def test_description_holds_what_a_report_needs():
  plain = machine.describe(device=False)
  assert plain["processor"] and plain["memory_gb"] > 0
  assert 1 <= plain["cores"] <= os.cpu_count()
  assert "jax" not in plain
  full = machine.describe()
  assert full["platform"] == "cpu" and full["device"] and full["jax"]
  assert json.loads(json.dumps(full)) == full


def test_text_has_lists_and_tables():
  text = machine.as_text(
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


def test_process_of_its_own(tmp_path, monkeypatch):
  (tmp_path / "echo.py").write_text(
    "import json, os, sys\n"
    "print('noise')\n"
    "found = [os.environ.get(name) for name in ('ANSWER', 'REMOVED')]\n"
    "print(json.dumps([json.loads(sys.argv[1]), *found]))\n"
  )
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  monkeypatch.setenv("REMOVED", "1")
  variables = {"ANSWER": "42", "REMOVED": None}
  found = machine.in_process("echo", {"a": 1}, variables)
  assert found == [{"a": 1}, "42", None]


def test_median():
  calls = []
  assert machine.median_seconds(lambda: calls.append(0), repeats=3) >= 0
  assert len(calls) == 3
