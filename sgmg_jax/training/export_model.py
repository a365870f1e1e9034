"""Export a training run as a native checkpoint with its history."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sgmg_jax import types
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native, stored_dtype
from sgmg_jax.model import variants

MAX_CURVE_POINTS = 200


def thin(
  entries: Sequence[Mapping[str, float]], names: Sequence[str]
) -> list[dict[str, float]]:
  """At most `MAX_CURVE_POINTS` entries, evenly spread, four digits of `step`
  and those of `names` that an entry has; entries with none are left out."""
  kept = [
    {
      k: float(f"{e[k]:.4g}") if k != "step" else e[k]
      for k in ("step", *names)
      if k in e
    }
    for e in entries
  ]
  kept = [entry for entry in kept if len(entry) > 1]
  stride = -(-len(kept) // MAX_CURVE_POINTS) or 1
  # The last entry is always among them.
  return kept[::-1][::stride][::-1]


def source(config: Mapping[str, Any]) -> dict[str, Any]:
  """The `source` of a card: how to train the same again."""
  command = " ".join(["sgmg", *sys.argv[1:]])
  return {"command": command, "seed": config["seed"], "config": config}


def export(
  directory: str | os.PathLike,
  params: types.Params,
  variant: variants.Variant,
  tokenizer: Any,
  *,
  name: str,
  licence: str,
  dtype: str,
  preprocess: dict[str, Any],
  config: dict[str, Any],
  metrics: Sequence[Mapping[str, float]],
  max_group: int = card_lib.MAX_GROUP,
) -> None:
  """Writes `directory`, replacing what an earlier export left there.

  Args:
    dtype: parameters are stored in, such as "float16".
    preprocess: frame sizes and window the model is meant for, as the card
      has them.
    config: of the run, JSON.
    metrics: lines of the run's `metrics.jsonl`.
    max_group: in the card of a Fast SgMg.

  Raises:
    UserError: `dtype` is none of `stored_dtype.DTYPES`, or a parameter is NaN,
      infinite or too large for it.
  """
  scores = [m for m in metrics if any(k.startswith("val/") for k in m)]
  # The numbers that training is watched by; the last line has all.
  watched = [
    k
    for k in (scores[-1] if scores else {})
    if k.endswith(("/J&F", "/J&F-Mean", "/swapped", "/AP", "/overall_iou"))
  ]
  card = card_lib.make(
    variant,
    name=name,
    source=source(config),
    licence=licence,
    preprocess=preprocess,
    max_group=max_group,
    results=scores[-1] if scores else {},
    curve={
      "train": thin(metrics, ("total", "loss_ce", "loss_dice")),
      "val": thin(metrics, watched),
    },
  )
  arrays = stored_dtype.cast(params, dtype, name)
  native.save(directory, arrays, card, tokenizer, overwrite=True)
