"""J&F of sentences about videos: Ref-YouTube-VOS, MeViS, own, RefShapes.

J and F are means over all frames of the video, then over all sentences. The
server of Ref-YouTube-VOS, whose code is not public, may have averaged in
another way: numbers of this file are "local". As in DAVIS, J and F are 1 where
nothing is to be seen and nothing is predicted, so also of sentences of MeViS
that are about nothing; N-acc and T-acc tell these apart.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import (
  mask_files,
  measures,
  presence,
  scores,
  statistics,
  temporal,
)
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.files import tree as tree_lib

LAYOUT: Final = "<video>/<expression>/<frame>.png"
# Read at once, so that memory does not grow with the video.
_FRAMES_AT_ONCE: Final = 16


class _Video(NamedTuple):
  """The work of one video.

  Attributes:
    numbers: positions of its sentences among all.
    files: of each sentence, of each frame; None: missing.
  """

  name: str
  numbers: list[int]
  files: list[list[str | None]]


@dataclasses.dataclass(frozen=True)
class _Frames:
  """What is measured of each frame of a sentence, arrays of [T]; see
  `temporal` and `presence`."""

  region: np.ndarray
  boundary: np.ndarray
  pred_shown: np.ndarray
  truth_shown: np.ndarray
  pred_overlaps: np.ndarray
  truth_overlaps: np.ndarray

  @classmethod
  def empty(cls, num_frames: int) -> _Frames:
    numbers = [np.full(num_frames, np.nan) for _ in range(4)]
    shown = [np.zeros(num_frames, bool) for _ in range(2)]
    return cls(*numbers[:2], *shown, *numbers[2:])

  def values(self) -> dict[str, float]:
    """Values of the sentence, by name."""
    j, f = float(self.region.mean()), float(self.boundary.mean())
    shown = self.pred_shown, self.truth_shown
    overlaps = self.pred_overlaps, self.truth_overlaps
    return {
      "J&F": (j + f) / 2,
      "J": j,
      "F": f,
      "tIoU": temporal.temporal_iou(*shown),
      "vIoU": temporal.video_iou(self.region, *shown),
      "stability": temporal.stability(*overlaps),
      "presence": presence.accuracy(*shown),
      "N-acc": presence.no_target_correct(*shown),
      "T-acc": presence.target_correct(*shown),
    }


def score(
  truth: truth_lib.Truth,
  predictions: str | os.PathLike,
  *,
  protocol: str,
  allow_missing: bool = False,
  run: Callable[..., Iterable[Any]] = map,
) -> scores.Scores:
  """Score a folder or zip of masks, see `LAYOUT`.

  Args, Raises: as `protocols.score`, which gives `protocol` and `run`.
  """
  expressions = truth.source.expressions
  numbers: dict[str, list[int]] = {}
  for number, e in enumerate(expressions):
    numbers.setdefault(e.video, []).append(number)
  frames = {video: truth.source.video(video).frames for video in numbers}
  wanted = {(e.video, e.id): frames[e.video] for e in expressions}
  what = f"{LAYOUT} of {truth.name} {truth.split}"
  masks, faults = mask_files.open_wanted(predictions, wanted, what)
  usable = allow_missing or not faults.number("missing")
  jobs = [
    _Video(
      video,
      of_video,
      [masks.find((video, expressions[n].id), frames[video]) for n in of_video],
    )
    for video, of_video in numbers.items()
  ]
  measure = functools.partial(_measure, truth, masks.tree, usable)
  values = {}
  for job, (found, of_video) in zip(jobs, run(measure, jobs)):
    faults += found
    values |= zip(job.numbers, of_video)
  notes = mask_files.accept(faults, predictions, allow_missing)
  rows = [
    scores.Row(e.video, e.id, e.text, values[n])
    for n, e in enumerate(expressions)
  ]
  return _summed(truth, protocol, rows, notes)


def _measure(
  truth: truth_lib.Truth, tree: tree_lib.Tree, usable: bool, job: _Video
) -> tuple[faults_lib.Faults, list[Mapping[str, float]]]:
  """Read, check and, if they are usable, measure the masks of a video.

  Returns:
    Faults, and values by sentence.
  """
  source = truth.source
  size = source.video(job.name).size
  num_frames = len(job.files[0])
  faults = faults_lib.Faults()
  sentences = [_Frames.empty(num_frames) for _ in job.numbers]
  before_pred: dict[int, np.ndarray] = {}
  before_true: dict[tuple[int, ...] | str, np.ndarray] = {}
  for start in range(0, num_frames, _FRAMES_AT_ONCE):
    indices = range(start, min(start + _FRAMES_AT_ONCE, num_frames))
    true_masks: dict[tuple[int, ...] | str, np.ndarray] = {}
    true_overlaps: dict[tuple[int, ...] | str, np.ndarray] = {}
    for row, number in enumerate(job.numbers):
      e = source.expressions[number]
      files = [job.files[row][i] for i in indices]
      pred = mask_files.read_masks(tree, files, size, faults)
      if not usable or faults:
        continue
      # Sentences about the same objects share them.
      objects = e.object_ids or e.id
      if objects not in true_masks:
        true = source.read_masks(e, indices)
        true_masks[objects] = true
        true_overlaps[objects] = temporal.successive_overlaps(
          true, before_true.get(objects)
        )
        before_true[objects] = true[-1]
      counts = measures.count_frames(pred, true_masks[objects])
      frames = sentences[row]
      frames.region[indices] = counts.region
      frames.boundary[indices] = counts.boundary
      frames.pred_shown[indices] = counts.pred_shown
      frames.truth_shown[indices] = counts.truth_shown
      frames.truth_overlaps[indices] = true_overlaps[objects]
      frames.pred_overlaps[indices] = temporal.successive_overlaps(
        pred, before_pred.get(row)
      )
      before_pred[row] = pred[-1]
  return faults, [frames.values() for frames in sentences]


def _summed(truth, protocol, rows, notes) -> scores.Scores:
  # Without sentences about nothing there is no N-acc, and T-acc says little.
  if all(np.isnan(row.values["N-acc"]) for row in rows):
    for_all = [n for n in rows[0].values if n not in ("N-acc", "T-acc")]
    rows = [
      dataclasses.replace(row, values={n: row.values[n] for n in for_all})
      for row in rows
    ]
  intervals = {}
  for name in rows[0].values:
    pairs = [(row.values[name], row.video) for row in rows]
    known = [pair for pair in pairs if not np.isnan(pair[0])]
    if known:
      intervals[name] = statistics.bootstrap(*zip(*known))
  return scores.Scores(
    truth.name,
    protocol,
    "J&F",
    {name: interval.mean for name, interval in intervals.items()},
    rows,
    intervals,
    notes,
  )
