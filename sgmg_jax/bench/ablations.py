"""Ablations of the paper (Tables 5, 6 and H): runs, work, speed, the table.

Every row of a table is trained with several seeds by `configs/ablations.py` and
scored on RefShapes; work and speed are those of a model of the paper's sizes
with the same parts, measured in one process.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax
import numpy as np
from ml_collections import ConfigDict

from sgmg_jax.bench import model, report
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.cli import config_files
from sgmg_jax.errors import UserError
from sgmg_jax.files import json_object
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import operations

SWITCHES: Final = ("spectral", "patch", "refine", "decoder")
SCORES: Final = ("J&F", "J", "F")
RESULT: Final = "result.json"
# Of what else a run depends on nothing.
_NOT_COMPARED: Final = ("num_rows",)


@dataclasses.dataclass(frozen=True)
class Run:
  """A row's training with one seed.

  Attributes:
    config: as `sgmg train` takes it.
    folder: workdir of the run, the same for equal rows of several tables.
  """

  row: int
  seed: int
  config: ConfigDict
  folder: pathlib.Path

  @property
  def switches(self) -> dict[str, Any]:
    """Values of the row's `SWITCHES`."""
    return {name: self.config.model[name] for name in SWITCHES}

  def result(self) -> dict[str, float] | None:
    """The scores, fractions by name; None: it is not done.

    Raises:
      UserError: the folder's run had another config.
    """
    path = self.folder / RESULT
    if not path.exists():
      return None
    held = json_object.read(path)
    if held.get("config") != self._comparable():
      raise UserError(
        f"{path}: it is of a run with another config, expected this one's; "
        "take another --out"
      )
    return held["scores"]

  def save(self, scores: Mapping[str, float]) -> None:
    """Write the scores down, after which the run is done."""
    found = {
      name: value
      for key, value in scores.items()
      if (name := key.removeprefix("refshapes/")) != key
    }
    content = {"scores": found, "config": self._comparable()}
    json_object.write(self.folder / RESULT, content)

  def _comparable(self) -> dict[str, Any]:
    config = json.loads(self.config.to_json_best_effort())
    return {k: v for k, v in config.items() if k not in _NOT_COMPARED}


def plan(
  table: str,
  seeds: int,
  out: pathlib.Path,
  *,
  rows: Sequence[int] = (),
  runlocal: bool = False,
  overrides: Sequence[str] = (),
) -> list[Run]:
  """All runs of a table, a seed of every row before the next seed.

  Args:
    rows: from 1; empty: all.
    runlocal: a few steps each, a smoke test.

  Raises:
    UserError: no such table or row, or a bad override.
  """
  runs = []
  local = ",runlocal" if runlocal else ""

  def load(row, seed):
    spec = f"ablations:table={table},row={row},seed={seed}{local}"
    return config_files.load(spec, overrides)

  for seed in range(seeds):
    for row in rows or range(1, load(1, 0).num_rows + 1):
      config = load(row, seed)
      name = "-".join(f"{k}={config.model[k]}" for k in SWITCHES)
      runs.append(Run(row, seed, config, out / name / f"seed{seed}"))
  return runs


def work_and_speed(
  setup: model.Setup, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, float]]:
  """Parameters, operations and speed of models with these switches.

  The passes of all models take turns, so that a machine whose speed changes
  does not favour one.

  Args:
    setup: sizes and repeats; 0: the speed is left out.
    rows: values of `SWITCHES`.

  Returns:
    "parameters" (without the text encoder), "gflop" (of matrix products and
    convolutions, one sentence on all frames) and "frames_per_second" each.
  """
  found, passes, text = [], [], None
  for row in rows:
    found.append(_work(setup, variants.get_variant(setup.variant, **row)))
    if setup.repeats:
      net, params, inputs, tokens = model.random_inputs(setup, **row)
      # One text encoder for all of them.
      text = text or params["text_encoder"]
      args = {**params, "text_encoder": text}, inputs, tokens
      whole, _, _ = model.steps(net)
      compiled = jax.jit(whole).lower(*args).compile()
      run = lambda compiled=compiled, args=args: jax.block_until_ready(
        compiled(*args)
      )
      run()
      passes.append(run)
  seconds = [
    [report.seconds(run) for run in passes] for _ in range(setup.repeats)
  ]
  for row, times in zip(found, zip(*seconds)):
    row["frames_per_second"] = setup.frames / statistics.median(times)
  return found


def _work(setup: model.Setup, variant: variants.Variant) -> dict[str, float]:
  """Parameters and operations, traced and not computed."""
  net, params = sgmg.SgMg(variant), expected_shapes.model(variant)
  inputs, tokens = model.random_clip(setup, variant)
  whole, _, _ = model.steps(net)
  flops = operations.count_flops(
    jax.make_jaxpr(whole)(params, inputs, tokens).jaxpr
  )
  sizes = {k: v for k, v in params.items() if k != "text_encoder"}
  return {
    "parameters": sum(x.size for x in jax.tree.leaves(sizes)),
    "gflop": flops / 1e9,
  }


def summarise(
  runs: Sequence[Run],
  measure: Callable[[Sequence[Mapping]], Sequence[Mapping[str, float]]],
) -> list[dict[str, Any]]:
  """A record for each row: its switches, scores over the seeds and figures.

  Args:
    runs: that are done, or not yet, which are left out.
    measure: of the rows' switches, such as `work_and_speed`.

  Returns:
    For each row "row", `SWITCHES`, "seeds", of each of `SCORES` its "mean" and
    "sd" (of a sample; None of one seed) and what `measure` gives.
  """
  rows = {run.row: run.switches for run in runs}
  records = []
  for row, figures in zip(rows, measure(list(rows.values())), strict=True):
    results = [
      scores
      for run in runs
      if run.row == row and (scores := run.result()) is not None
    ]
    scores = {}
    for name in SCORES if results else ():
      values = [result[name] for result in results]
      sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
      scores[name] = {"mean": statistics.mean(values), "sd": sd}
    records.append(
      {"row": row, **rows[row], "seeds": len(results), **scores, **figures}
    )
  return records


_HEADS: Final = {
  "row": "row",
  "spectral": "spectrum",
  "patch": "labels a token",
  "refine": "optimiser",
  "decoder": "decoder",
  "seeds": "seeds",
  **{name: f"{name} %" for name in SCORES},
  "parameters": "parameters, M",
  "gflop": "GFLOP",
  "frames_per_second": "frames/s",
}


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
  """The table for people; scores in percent, mean ± standard deviation."""
  names = [name for name in _HEADS if any(name in r for r in records)]
  lines = [
    [_HEADS[name] for name in names],
    ["---"] * len(names),
    *([_cell(name, record.get(name)) for name in names] for record in records),
  ]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(name: str, value: Any) -> str:
  if value is None:
    return "–"
  if name in SCORES:
    sd = "" if value["sd"] is None else f" ± {100 * value['sd']:.1f}"
    return f"{100 * value['mean']:.1f}{sd}"
  if name == "parameters":
    return f"{value / 1e6:.2f}"
  if isinstance(value, bool):
    return "yes" if value else "no"
  return f"{value:.2f}" if isinstance(value, float) else str(value)
