"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
from typing import Final

from sgmg_jax.input_pipeline.doctor import (
  examination,
  findings,
  pictures,
  table,
)

# Findings listed of each code; all are in the JSON.
_LISTED: Final = 50
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; --error: #c62828;
  --warning: #b26a00; --info: #4a6fa5; --ok: #2e7d32; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } h2 small, p small { font-weight: normal;
  opacity: .7; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
td, th { border-top: 1px solid var(--line); padding: .3rem .6rem;
  text-align: left; vertical-align: top; overflow-wrap: anywhere; }
.error { color: var(--error); } .warning { color: var(--warning); }
.info { color: var(--info); } .ok { color: var(--ok); }
details { margin: .2rem 0; } summary { cursor: pointer; }
code { font-size: .92em; }
.examples { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; }
figcaption { font-size: .9em; }
"""


def render(report: examination.Report, examples: int) -> str:
  """The page, with so many examples of each data set."""
  verdict = table.verdict(report)
  body = [f"<h1>Data doctor: {verdict}</h1>"]
  if report.fast:
    body.append("<p>Fast: nothing was decoded or compared by content.</p>")
  for examined in report.sets:
    root = html.escape(str(examined.plan.root))
    body.append(f"<h2>{examined.plan.name} <small>{root}</small></h2>")
    body += _counts(examined.plan.counts)
    body += _checks(table.rows(report, examined.findings))
    body += _examples(examined, examples)
  body.append(f"<h2>{table.leak_title(report)}</h2>")
  body += _checks([table.leak_row(report)])
  return (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>Data doctor: {verdict}</title><style>{_STYLE}</style></head>"
    "<body>\n" + "\n".join(body) + "\n</body></html>\n"
  )


def _counts(counted: dict[str, dict[str, int]]) -> list[str]:
  rows = [
    f"<tr><td>{html.escape(split)}</td><td>"
    + ", ".join(f"{n:,} {name}" for name, n in quantities.items())
    + "</td></tr>"
    for split, quantities in counted.items()
  ]
  return ["<table><tr><th>Split</th><th>Found</th></tr>", *rows, "</table>"]


def _checks(rows) -> list[str]:
  lines = ["<table><tr><th>Check</th><th>Result</th><th>Findings</th></tr>"]
  for row in rows:
    worst = "" if row.skipped else "ok"
    for severity in reversed(findings.SEVERITIES):
      if row.number(severity):
        worst = severity
    details = "".join(_details(*group) for group in row.groups.items())
    lines.append(
      f'<tr><td>{row.check}</td><td class="{worst}">{row.verdict}</td>'
      f"<td>{details}</td></tr>"
    )
  return [*lines, "</table>"]


def _details(code: str, group: list[findings.Finding]) -> str:
  worst = group[0].severity
  items = "".join(f"<li>{html.escape(str(f))}</li>" for f in group[:_LISTED])
  if len(group) > _LISTED:
    items += f"<li>… and {len(group) - _LISTED} more</li>"
  return (
    f'<details{" open" * (worst == "error")}><summary><code class="{worst}">'
    f"{code}</code> {len(group)} × {html.escape(findings.CODES[code].meaning)}"
    f"</summary><ul>{items}</ul></details>"
  )


def _examples(examined: examination.Examined, number: int) -> list[str]:
  figures = []
  for example, found in pictures.choose(examined, number):
    try:
      data = base64.b64encode(pictures.draw(example)).decode()
      image = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    # What is broken is in the findings; here it only has no picture.
    except Exception as e:
      reason = str(e) or type(e).__name__
      image = f'<p class="error">no picture: {html.escape(reason)}</p>'
    note = f'<br><span class="error">{html.escape(found)}</span>'
    figures.append(
      f"<figure>{image}<figcaption>{html.escape(example.text) or '(empty)'}"
      f"<br><small>{html.escape(example.split)}, video "
      f"{html.escape(example.video)}, expression "
      f"{html.escape(example.expression)}</small>{note if found else ''}"
      "</figcaption></figure>"
    )
  return [f'<div class="examples">{"".join(figures)}</div>'] if figures else []
