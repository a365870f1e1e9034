"""The result of an evaluation: numbers, intervals and a row per sentence."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from sgmg_jax.evaluation import statistics
from sgmg_jax.files import atomic

NUMBERS_FILE: Final = "scores.json"
ROWS_FILE: Final = "sentences.csv"


class Labels(NamedTuple):
  """What a row of Ref-DAVIS17 compares, which predictions decide.

  Attributes:
    annotator: whose label maps, 0 to 3.
    predicted: label in them.
    object_id: of the object in the ground truth that it was assigned to.
  """

  annotator: int
  predicted: int
  object_id: int


@dataclasses.dataclass(frozen=True)
class Row:
  """The scores of one sentence.

  Attributes:
    video: name of its video; bootstrap draws videos.
    values: fractions by name, such as {"J": 0.7, "F": 0.8, "J&F": 0.75}; all
      rows of an evaluation have the same names, NaN where one has no value.
    labels: what was compared, where the sentence does not say it.
  """

  video: str
  expression: str
  sentence: str
  values: Mapping[str, float]
  labels: Labels | None = None

  @property
  def key(self) -> Hashable:
    """What the same row of other predictions has, too."""
    if self.labels:
      return self.video, self.labels.annotator, self.labels.object_id
    return self.video, self.expression


@dataclasses.dataclass(frozen=True)
class Scores:
  """What an evaluation found.

  Attributes:
    benchmark: name of the data set, such as "refer_ytvos".
    protocol: one line that says what was computed.
    main: name of the headline number.
    numbers: fractions by name, in the order in which they are shown.
    rows: one for each sentence, in the order of the data set.
    intervals: of some of the numbers, over drawn videos.
    notes: what a reader has to know, such as what counted as zero and why.
    tables: further files of the benchmark, text by relative name.
  """

  benchmark: str
  protocol: str
  main: str
  numbers: Mapping[str, float]
  rows: Sequence[Row] = ()
  intervals: Mapping[str, statistics.Interval] = dataclasses.field(
    default_factory=dict
  )
  notes: Sequence[str] = ()
  tables: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def table(self) -> str:
    """The numbers in percent, one a line, for people."""
    lines = [f"{self.benchmark}, in percent: {self.protocol}"]
    width = max(map(len, self.numbers), default=0)
    for name, value in self.numbers.items():
      percent = f"{100 * value:6.2f}" if value == value else "no object"
      line = f"  {name:{width}}  {percent}"
      low, high = self.intervals.get(name, (value, np.nan, np.nan))[1:]
      if not np.isnan(low):
        line += f"   95 % interval {100 * low:.2f} to {100 * high:.2f}"
      lines.append(line)
    return "\n".join(lines + [f"note: {note}" for note in self.notes])

  def to_json(self) -> dict[str, Any]:
    """Everything but the rows, in plain types; null where there is NaN."""
    return {
      "benchmark": self.benchmark,
      "protocol": self.protocol,
      "main": self.main,
      "unit": "fractions of 1",
      "numbers": {k: _number(v) for k, v in self.numbers.items()},
      "intervals": {
        k: [_number(v.low), _number(v.high)] for k, v in self.intervals.items()
      },
      "notes": list(self.notes),
    }

  def save(self, folder: str | os.PathLike) -> None:
    """Write `scores.json`, `sentences.csv` and tables, over earlier ones."""
    numbers = json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"
    files = {NUMBERS_FILE: numbers, ROWS_FILE: self.csv(), **self.tables}
    for name, text in files.items():
      with atomic.output(pathlib.Path(folder) / name, overwrite=True) as path:
        path.write_text(text, encoding="utf-8", newline="")

  def csv(self) -> str:
    """One line for each sentence; values are fractions, empty for NaN."""
    file = io.StringIO()
    names = list(self.rows[0].values) if self.rows else []
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["video", "expression", "sentence", *names])
    for row in self.rows:
      values = ["" if v != v else f"{v:.6f}" for v in row.values.values()]
      writer.writerow([row.video, row.expression, row.sentence, *values])
    return file.getvalue()


def _number(value: float) -> float | None:
  return None if value != value else float(value)
