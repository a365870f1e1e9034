"""Parameters of a model at a glance: counts by part."""

from __future__ import annotations

import collections

import jax

from sgmg_jax import types
from sgmg_jax.training import parts

# Lines of the largest parts; what remains is summed up.
_NUM_PARTS = 8


def summarise(params: types.Params, trainable: types.Params) -> str:
  """A table of the largest parts, the rest and the total: ten lines at most.

  Args:
    params: of the model, by top-level module, see `parts.part_of`.
    trainable: tree of bool, see `optimizer.trainable_mask`.
  """
  counts = collections.defaultdict(lambda: [0, 0])
  for name, module in params.items():
    part = parts.part_of(name)
    for leaf, trains in zip(
      jax.tree.leaves(module), jax.tree.leaves(trainable[name]), strict=True
    ):
      counts[part][0] += leaf.size
      counts[part][1] += leaf.size * bool(trains)
  rows = sorted(counts.items(), key=lambda row: -row[1][0])
  rest = rows[_NUM_PARTS:]
  if len(rest) > 1:
    rows = [*rows[:_NUM_PARTS], (f"{len(rest)} others", _total(rest))]
  rows.append(("total", _total(rows)))
  width = max(len(name) for name, _ in rows)
  digits = len(f"{rows[-1][1][0]:,}")
  return "\n".join(
    f"  {name:{width}}  {count:{digits},}  {_trained(count, trained)}"
    for name, (count, trained) in rows
  )


def _total(rows) -> list[int]:
  return [sum(column) for column in zip(*(counts for _, counts in rows))]


def _trained(count: int, trained: int) -> str:
  if trained in (0, count):
    return "trained" if trained else "frozen"
  return f"{100 * trained / count:.0f} % trained"
