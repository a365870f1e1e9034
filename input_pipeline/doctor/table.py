"""The report on the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sgmg_jax.input_pipeline.doctor import examination, findings

_EXAMPLES = 3
# What reading only headers leaves out.
_NOT_FAST = frozenset({"duplicates"})
# Not of one data set.
_BETWEEN = "leaks"


@dataclasses.dataclass(frozen=True)
class Row:
  """One check of one data set.

  Attributes:
    groups: its findings by code, errors first.
    skipped: it was not made.
  """

  check: str
  groups: dict[str, list[findings.Finding]]
  skipped: bool = False

  def number(self, severity: findings.Severity) -> int:
    return sum(f.severity == severity for g in self.groups.values() for f in g)

  @property
  def verdict(self) -> str:
    """Such as "ok", or "2 errors, 1 note"."""
    if self.skipped:
      return "not checked"
    parts = []
    for severity in findings.SEVERITIES:
      number = self.number(severity)
      if number:
        parts.append(_number(number, severity))
    return ", ".join(parts) or "ok"


def rows(report: examination.Report, found: Sequence[findings.Finding]):
  """The rows of one data set."""
  for check in findings.CHECKS:
    if check != _BETWEEN:
      yield Row(
        check,
        _groups(f for f in found if f.check == check),
        report.fast and check in _NOT_FAST,
      )


def leak_row(report: examination.Report) -> Row:
  return Row(_BETWEEN, _groups(report.leaks))


def leak_title(report: examination.Report) -> str:
  by = "by name only" if report.fast else "by name and content"
  return f"Between training and evaluation data, {by}"


def verdict(report: examination.Report) -> str:
  """The last line: "2 errors, 1 warning"."""
  every = report.all_findings()
  return ", ".join(_number(every.number(s), s) for s in ("error", "warning"))


def summary(counted: dict[str, dict[str, int]]) -> str:
  """Numbers found, one line a split: "train: 3,471 videos"."""
  return "\n".join(
    f"{split}: "
    + ", ".join(f"{number:,} {name}" for name, number in quantities.items())
    for split, quantities in counted.items()
  )


def render(report: examination.Report) -> str:
  """The table as text."""
  lines = []
  for examined in report.sets:
    lines.append(f"{examined.plan.name}  {examined.plan.root}")
    lines += [f"  {line}" for line in summary(examined.plan.counts).split("\n")]
    for row in rows(report, examined.findings):
      lines += _render_row(row)
    lines.append("")
  lines.append(leak_title(report))
  lines += _render_row(leak_row(report))
  lines += ["", verdict(report)]
  if report.fast:
    lines[-1] += " (--fast: nothing was decoded or compared by content)"
  return "\n".join(lines)


def to_json(report: examination.Report) -> dict[str, Any]:
  """Everything found, as plain data."""
  return {
    "fast": report.fast,
    "errors": report.all_findings().number("error"),
    "warnings": report.all_findings().number("warning"),
    "sets": [
      {
        "name": examined.plan.name,
        "path": str(examined.plan.root),
        "counts": examined.plan.counts,
        "findings": [dataclasses.asdict(f) for f in examined.findings],
      }
      for examined in report.sets
    ],
    "leaks": [dataclasses.asdict(f) for f in report.leaks],
  }


def _number(number: int, severity: str) -> str:
  """A number and its word: "1 note", "2 errors"."""
  word = {"info": "note"}.get(severity, severity)
  return f"{number} {word}{'s' * (number != 1)}"


def _groups(
  found: Iterable[findings.Finding],
) -> dict[str, list[findings.Finding]]:
  groups = defaultdict(list)
  for finding in found:
    groups[finding.code].append(finding)
  worst = findings.SEVERITIES.index
  for group in groups.values():
    group.sort(key=lambda finding: worst(finding.severity))
  return dict(sorted(groups.items(), key=lambda i: worst(i[1][0].severity)))


def _render_row(row: Row) -> list[str]:
  lines = [f"  {row.check:12}{row.verdict}"]
  for code, group in row.groups.items():
    severities = Counter(finding.severity for finding in group)
    number = ", ".join(_number(n, s) for s, n in severities.items())
    lines.append(f"    {code} ({number}): {findings.CODES[code].meaning}")
    lines += [f"      {finding}" for finding in group[:_EXAMPLES]]
    if len(group) > _EXAMPLES:
      lines.append(f"      … and {len(group) - _EXAMPLES} more")
  return lines
