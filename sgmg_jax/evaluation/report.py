"""Scores as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Final

import numpy as np

from sgmg_jax.evaluation import comparison as comparison_lib
from sgmg_jax.evaluation.gallery import Gallery
from sgmg_jax.evaluation.scores import Row, Scores

# Sentences shown of the best, the median and the worst each.
_SHOWN: Final = 6
_BINS: Final = 20
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; --bar: #4a6fa5; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
td, th { border-top: 1px solid var(--line); padding: .3rem .8rem;
  text-align: left; } td.n { text-align: right;
  font-variant-numeric: tabular-nums; }
.charts { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }
svg { width: 100%; } svg rect { fill: var(--bar); }
svg text { font: 9px system-ui, sans-serif; fill: currentColor; }
.gallery { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
figure { margin: 0; } figure div { display: flex; gap: 2px; }
figure img { min-width: 0; flex: 1 1 0; border-radius: 3px; }
figcaption { font-size: .9em; } small { opacity: .7; }
"""


def render(
  scores: Scores,
  gallery: Gallery,
  *,
  comparison: comparison_lib.Comparison | None = None,
  other: Gallery | None = None,
) -> str:
  """The page: numbers, distributions over sentences, pictures.

  Args:
    comparison: with other predictions, as second to these.
    other: draws those.
  """
  title = f"{scores.benchmark}: {scores.protocol}"
  body = [f"<h1>{html.escape(title)}</h1>", *_numbers(scores)]
  body += [f"<p>{html.escape(note)}</p>" for note in scores.notes]
  if comparison:
    body.append("<h2>Second less first</h2>")
    body.append(f"<pre>{html.escape(comparison.table())}</pre>")
    body.append("<h2>Changed most: first, then second</h2>")
    body += _changes(comparison, gallery, other)
  if scores.rows:
    body.append("<h2>Distribution over sentences</h2>")
    body += _charts(scores.rows)
    body += _galleries(scores.rows, gallery)
  return (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
    + "\n".join(body)
    + "\n</body></html>\n"
  )


def _numbers(scores: Scores) -> list[str]:
  lines = ["<table><tr><th>Number</th><th>%</th><th>95 % interval</th></tr>"]
  for name, value in scores.numbers.items():
    interval = scores.intervals.get(name)
    shown = ""
    if interval and interval.low == interval.low:
      shown = f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"
    percent = f"{100 * value:.2f}" if value == value else "no object"
    lines.append(
      f'<tr><td>{html.escape(name)}</td><td class="n">{percent}</td>'
      f"<td>{shown}</td></tr>"
    )
  return [*lines, "</table>"]


def _charts(rows: Sequence[Row]) -> list[str]:
  """A histogram of each value, from 0 to 100 %."""
  charts = []
  for name in rows[0].values:
    values = np.array([row.values[name] for row in rows])
    values = values[~np.isnan(values)]
    if not len(values) or values.min() < 0 or values.max() > 1:
      continue
    counts, _ = np.histogram(values, _BINS, (0, 1))
    bars = "".join(
      f'<rect x="{10 * k + 1}" y="{80 - 70 * n / counts.max():.1f}" width="8" '
      f'height="{70 * n / counts.max():.1f}"><title>{n}</title></rect>'
      for k, n in enumerate(counts)
    )
    charts.append(
      '<svg viewBox="0 0 200 95" role="img">'
      f'<text x="1" y="8">{html.escape(name)}: {len(values)} sentences, median '
      f"{100 * np.median(values):.1f}</text>{bars}"
      '<text x="0" y="92">0</text><text x="184" y="92">100</text></svg>'
    )
  return [f'<div class="charts">{"".join(charts)}</div>']


def _galleries(rows: Sequence[Row], gallery: Gallery) -> list[str]:
  """The best, the median and the worst sentences, none twice."""
  name = next(iter(rows[0].values))
  ranked = sorted(
    (row for row in rows if row.values[name] == row.values[name]),
    key=lambda row: -row.values[name],
  )
  rest = ranked[_SHOWN:]
  between = rest[:-_SHOWN]
  first = max(0, (len(between) - _SHOWN) // 2)
  groups = {
    "Best": ranked[:_SHOWN],
    "Median": between[first : first + _SHOWN],
    "Worst": rest[-_SHOWN:][::-1],
  }
  body = []
  for group, shown in groups.items():
    if shown:
      body.append(
        f"<h2>{group} sentences by {html.escape(name)}</h2>"
        "<p><small>orange: predicted; blue outline: ground truth</small></p>"
      )
      figures = [
        _figure(row, f"{100 * row.values[name]:.1f}", [(gallery, row)])
        for row in shown
      ]
      body.append(f'<div class="gallery">{"".join(figures)}</div>')
  return body


def _changes(
  comparison: comparison_lib.Comparison,
  gallery: Gallery,
  other: Gallery | None,
) -> list[str]:
  figures = [
    _figure(
      change.row,
      f"{100 * change.before:.1f} → {100 * change.after:.1f}",
      [(gallery, change.row)] + ([(other, change.other)] if other else []),
    )
    for change in comparison_lib.most_changed(comparison, _SHOWN)
  ]
  return [f'<div class="gallery">{"".join(figures)}</div>']


def _figure(row: Row, value: str, drawn: Sequence[tuple[Gallery, Row]]) -> str:
  """Rows of pictures, above what `row` says."""
  images = ""
  for gallery, of_gallery in drawn:
    pictures = "".join(
      '<img alt="" src="data:image/jpeg;base64,'
      f'{base64.b64encode(data).decode()}">'
      for data in gallery.draw(of_gallery)
    )
    images += f"<div>{pictures}</div>"
  return (
    f"<figure>{images}<figcaption><b>{value}</b> {html.escape(row.sentence)}"
    f"<br><small>{html.escape(row.video)}, {html.escape(row.expression)}"
    "</small></figcaption></figure>"
  )
