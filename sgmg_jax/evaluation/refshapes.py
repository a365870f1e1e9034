"""RefShapes: J&F by kind of sentence, and against swapped sentences.

The control "swapped" scores each object against a sentence about another
object of the same clip: a model that segments the most striking object
whatever is said scores the same there, one that listens scores low.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import mask_files, mask_videos, measures, scores
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.input_pipeline.refshapes import dataset


def score(
  truth: truth_lib.Truth,
  predictions: str | os.PathLike,
  *,
  protocol: str,
  allow_missing: bool = False,
  run: Callable[..., Iterable[Any]] = map,
) -> scores.Scores:
  """Score as `mask_videos`, with `J&F <kind>` and `swapped` beside.

  Args, Raises: as `mask_videos.score`; the truth is of all sentences of each
  clip, as it was drawn.
  """
  options = dict(protocol=protocol, allow_missing=allow_missing, run=run)
  found = mask_videos.score(truth, predictions, **options)
  keys = {(row.video, row.expression) for row in found.rows}
  masks = mask_files.open_masks(str(predictions), keys, mask_videos.LAYOUT)
  videos = list(dict.fromkeys(row.video for row in found.rows))
  measure = functools.partial(_measure, truth, masks)
  controls = [row for clip in run(measure, videos) for row in clip]
  kinds = np.array([kind for kind, _ in controls])
  swapped = np.array([value for _, value in controls])
  j_and_f = np.array([row.values["J&F"] for row in found.rows])
  by_kind = {
    f"J&F {kind}": float(j_and_f[kinds == kind].mean())
    for kind in sorted(set(kinds))
  }
  rows = [
    dataclasses.replace(row, values={**row.values, "swapped": float(value)})
    for row, value in zip(found.rows, swapped, strict=True)
  ]
  control = {"swapped": float(np.nanmean(swapped))}
  numbers = {**found.numbers, **control, **by_kind}
  return dataclasses.replace(found, numbers=numbers, rows=rows)


def _measure(
  truth: truth_lib.Truth, masks: mask_files.MaskFiles, video: str
) -> list[tuple[str, float]]:
  """Kind of each sentence of a clip, and J&F against the masks of another."""
  clip = truth.source.clip(video)
  size = clip.frames.shape[1:3]
  frames = truth.source.video(video).frames
  faults = faults_lib.Faults()  # Told before.
  rows = []
  others = dataset.swapped_expressions(clip.expressions)
  for expression, other in zip(clip.expressions, others):
    value = np.nan
    if other is not None:
      files = masks.find((video, str(other)), frames)
      pred = mask_files.read_masks(masks.tree, files, size, faults)
      counts = measures.count_frames(pred, clip.masks[expression.object_index])
      value = (counts.region.mean() + counts.boundary.mean()) / 2
    rows.append((expression.kind, float(value)))
  return rows
