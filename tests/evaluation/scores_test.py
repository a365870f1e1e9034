"""Results of evaluations and their files."""

import csv
import json
import math

from sgmg_jax.evaluation import scores, statistics

ROWS = (
  scores.Row("v1", "0", 'a "red" dog, left', {"J": 0.5, "F": 0.25}),
  scores.Row("v2", "0", "nothing", {"J": math.nan, "F": 1.0}),
)
SCORES = scores.Scores(
  "own",
  "local",
  "J",
  {"J": 0.5, "F": 0.625},
  ROWS,
  {"J": statistics.Interval(0.5, 0.25, 0.75)},
  ("1 mask is missing",),
)


def test_the_table_is_in_percent():
  lines = SCORES.table().splitlines()
  assert lines[0] == "own, in percent: local"
  assert lines[1].split() == "J 50.00 95 % interval 25.00 to 75.00".split()
  assert lines[-1] == "note: 1 mask is missing"


def test_files_hold_fractions(tmp_path):
  for _ in range(2):  # Over those of the first time.
    SCORES.save(tmp_path / "new")
  content = json.loads((tmp_path / "new/scores.json").read_text())
  assert content["numbers"] == {"J": 0.5, "F": 0.625}
  assert content["intervals"] == {"J": [0.25, 0.75]}
  with open(tmp_path / "new/sentences.csv", newline="") as file:
    rows = list(csv.reader(file))
  assert rows[0] == ["video", "expression", "sentence", "J", "F"]
  assert rows[1] == ["v1", "0", 'a "red" dog, left', "0.500000", "0.250000"]
  assert rows[2][3] == ""
