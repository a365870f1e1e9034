"""Ref-DAVIS17: label maps of four annotators, each scored as DAVIS does.

```
[DVS_Annotations/]anno_<0..3>/<video>/<frame>.png    0, or 1 + object's position
```

Annotator a of object o wrote sentence 4 o + a of the video; label o + 1 of
`anno_<a>` answers it. Every annotator's label maps are scored by the task
"unsupervised" of davis2017-evaluation (see `davis`); papers report the mean
of the four. Tables have the official files' names and form, and are always
computed anew: the official program returns those it finds.
"""

from __future__ import annotations

import csv
import functools
import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import davis, mask_files, scores, statistics
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.files import tree as tree_lib
from sgmg_jax.input_pipeline import source as source_lib

NUM_ANNOTATORS: Final = 4
LAYOUT: Final = "anno_<0..3>/<video>/<frame>.png"
Task = Literal["unsupervised", "semi-supervised"]
_EVALUATE: Final = {
  "unsupervised": davis.evaluate_sequence,
  "semi-supervised": davis.evaluate_same_objects,
}


def score(
  truth: truth_lib.Truth,
  predictions: str | os.PathLike,
  *,
  protocol: str,
  allow_missing: bool = False,
  run: Callable[..., Iterable[Any]] = map,
  task: Task = "unsupervised",
) -> scores.Scores:
  """Score a folder or zip of label maps, see `LAYOUT`.

  Args, Raises: as `protocols.score`, which gives `protocol` and `run`; the
  truth is not a built data set, which has no void.

  Args:
    task: of davis2017-evaluation. Papers report "unsupervised";
      "semi-supervised" compares objects of the same number, without the first
      and the last frame.
  """
  source = truth.source
  if getattr(source, "void", None) is None:
    raise UserError(
      f"{truth.path}: Ref-DAVIS17 as built has no void pixels; expected the "
      "folder as downloaded"
    )
  sentences: dict[str, list[source_lib.Expression]] = {}
  for e in source.expressions:
    sentences.setdefault(e.video, []).append(e)
  frames = {video: source.video(video).frames for video in sentences}
  annotators = [f"anno_{a}" for a in range(NUM_ANNOTATORS)]
  wanted = {(a, video): frames[video] for a in annotators for video in frames}
  what = f"{LAYOUT} of {truth.name} {truth.split}"
  masks, faults = mask_files.open_wanted(predictions, wanted, what)
  usable = allow_missing or not faults.number("missing")
  jobs = [
    (video, [masks.find((a, video), names) for a in annotators])
    for video, names in frames.items()
  ]
  measure = functools.partial(
    _measure, truth, masks.tree, _EVALUATE[task] if usable else None
  )
  results = {}
  for video, (found, of_video) in zip(frames, run(measure, jobs)):
    faults += found
    results |= {(a, video): r for a, r in zip(annotators, of_video)}
  notes = mask_files.accept(faults, predictions, allow_missing)
  of_annotators = [
    davis.results([results[a, video] for video in frames]) for a in annotators
  ]
  rows = [
    row
    for video in frames
    for number, a in enumerate(annotators)
    for row in _rows(number, results[a, video], video, sentences[video])
  ]
  notes += _undescribed(results, sentences)
  return scores.Scores(
    truth.name,
    protocol,
    "J&F-Mean",
    davis.mean_results(of_annotators),
    rows,
    _intervals(rows),
    notes,
    {
      f"{a}/{name}": text
      for a, numbers in zip(annotators, of_annotators)
      for name, text in _tables(
        numbers, {video: results[a, video] for video in frames}
      )
    },
  )


def _measure(
  truth: truth_lib.Truth,
  tree: tree_lib.Tree,
  evaluate: Callable[..., davis.SequenceResult] | None,
  job: tuple[str, Sequence[Sequence[str | None]]],
) -> tuple[faults_lib.Faults, list[davis.SequenceResult]]:
  """Read, check and measure the annotators' label maps of a video.

  Args:
    truth: of all videos.
    tree: holds the predictions.
    evaluate: of `_EVALUATE`; None: files are checked alone.
    job: name of the video, and files of each annotator, of each frame; None:
      missing.

  Returns:
    Faults and, without any, a result for each annotator.
  """
  video, of_annotators = job
  source = truth.source
  size = source.video(video).size
  faults = faults_lib.Faults()
  results: list[davis.SequenceResult] = []
  true = None
  for files in of_annotators:
    pred = mask_files.read_masks(tree, files, size, faults, labels=True)
    for name, labels in zip(files, pred):
      if labels.max() > davis.MAX_PROPOSALS:
        faults.add(
          "encoding",
          f"{name}: label {labels.max()}, expected a palette PNG of objects 1 "
          f"to {davis.MAX_PROPOSALS}",
        )
    if faults or not evaluate:
      continue
    if true is None:
      true = np.stack([source.labels(video, t) for t in range(len(pred))])
    try:
      results.append(evaluate(pred, true))
    except UserError as e:
      raise UserError(f"{tree.path}: {video}: {e}") from e
  return faults, results


def _rows(
  annotator: int,
  result: davis.SequenceResult,
  video: str,
  sentences: Sequence[source_lib.Expression],
) -> Iterable[scores.Row]:
  """A row for each assigned object.

  Its sentence is the one that the label answers. "own object" is 1 if the
  assignment gives it the object that this sentence was written for, by its
  number: the masks are a later annotation, in which numbers may differ.
  """
  for j, f, proposal, object_id in zip(
    result.region, result.boundary, result.proposals, result.objects
  ):
    values = {
      name: getattr(statistics.over_frames(frames), statistic)
      for name, frames, statistic in (
        ("J", j, "mean"),
        ("F", f, "mean"),
        ("J-Recall", j, "recall"),
        ("J-Decay", j, "decay"),
        ("F-Recall", f, "recall"),
        ("F-Decay", f, "decay"),
      )
    }
    number = NUM_ANNOTATORS * int(proposal) + annotator
    known = number < len(sentences)
    e = sentences[number] if known else None
    yield scores.Row(
      video,
      e.id if e else f"anno_{annotator} label {proposal + 1}",
      e.text if e else f"(no sentence; object {object_id})",
      {"J&F": (values["J"] + values["F"]) / 2}
      | values
      | {"own object": float(object_id in e.object_ids) if e else np.nan},
      scores.Labels(annotator, int(proposal) + 1, int(object_id)),
    )


def _undescribed(results, sentences) -> list[str]:
  """Notes of objects that no sentence is about."""
  counts = {
    video: (
      len(results["anno_0", video].objects),
      len(described) // NUM_ANNOTATORS,
    )
    for video, described in sentences.items()
  }
  objects, described = (sum(column) for column in zip(*counts.values()))
  few = {v: n - d for v, (n, d) in counts.items() if n > d}
  notes = [f"{objects} objects in the masks, {described} described"]
  if few:
    shown = ", ".join(f"{n} of {video}" for video, n in few.items())
    notes[0] += (
      f"; {sum(few.values())} are without a sentence and score 0 unless "
      f"something is predicted for them: {shown}"
    )
  return notes


def _intervals(rows) -> dict[str, statistics.Interval]:
  videos = [row.video for row in rows]
  names = {"J&F-Mean": "J&F", "J-Mean": "J", "F-Mean": "F"}
  return {
    name: statistics.bootstrap([row.values[of_row] for row in rows], videos)
    for name, of_row in names.items()
  }


def _tables(
  numbers: dict[str, float], results: dict[str, davis.SequenceResult]
) -> Iterable[tuple[str, str]]:
  """(file name, content) of the official tables of one annotator."""
  yield "global_results-val.csv", _csv([list(numbers), list(numbers.values())])
  rows: list[list[Any]] = [["Sequence", "J-Mean", "F-Mean"]]
  for video, result in results.items():
    means = zip(result.region.mean(-1), result.boundary.mean(-1))
    rows += [[f"{video}_{k}", j, f] for k, (j, f) in enumerate(means, 1)]
  yield "per-sequence_results-val.csv", _csv(rows)


def _csv(rows: Iterable[Sequence[Any]]) -> str:
  file = io.StringIO()
  writer = csv.writer(file, lineterminator="\n")
  for row in rows:
    writer.writerow([x if isinstance(x, str) else f"{x:.5f}" for x in row])
  return file.getvalue()
