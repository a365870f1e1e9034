"""Evaluate a model on a benchmark: predict into files, then score those.

Predicting is shared out by units (a video, an annotated frame): between the
processes of `jax.distributed`, which must share the folder, and in each
between its devices. Every unit is predicted once, alone, so the numbers do not
depend on how many there are.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jax
import numpy as np
from ml_collections import ConfigDict

from sgmg_jax import distributed
from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import (
  overlap,
  prediction_folder,
  predictions,
  protocols,
  submission,
  units,
)
from sgmg_jax.evaluation import scores as scores_lib
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.evaluation.prediction_folder import PredictionFolder
from sgmg_jax.inference import memory_estimate, stages
from sgmg_jax.inference import predictor as predictor_lib
from sgmg_jax.input_pipeline.sets import registry

GROUPINGS: Final = ("video", "objects")
# (done, all): units that are predicted.
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is evaluated, and how.

  Attributes:
    path: of its folder; None if it is drawn.
    num_videos: only the first so many; 0: all.
    window: frames that the model sees at once; None: all where memory allows.
    group: sentences that go through the model together; 0: as many as it
      takes.
    grouping: which may go together: "video", all about the same frames, or
      "objects", one about each object. Only Fast SgMg's answers depend on it.
    threshold: probability that a mask pixel exceeds.
    processes: that score; 0: one for each core.
  """

  name: str
  path: str | None
  split: str
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  num_videos: int = 0
  window: int | None = None
  group: int = 0
  grouping: str = "video"
  threshold: float = 0.5
  processes: int = 0

  def __post_init__(self):
    for name in ("num_videos", "window", "group", "processes"):
      value = getattr(self, name)
      if value is not None and value < 0:
        raise UserError(f"{name}: expected at least 0, got {value}")
    if self.grouping not in GROUPINGS:
      raise UserError(
        f"grouping: expected {' or '.join(GROUPINGS)}, got {self.grouping!r}"
      )
    if not 0 < self.threshold < 1:
      raise UserError(
        f"threshold: expected a probability in (0, 1), got {self.threshold}"
      )

  @classmethod
  def from_config(cls, config: ConfigDict) -> Settings:
    """The settings of a config of `configs/eval/`."""
    data = config.data
    drawn = registry.about(data.name).family == "drawn"
    path = pathlib.Path(data.root) / data.folder
    return cls(
      data.name,
      None if drawn else str(path),
      data.split,
      data.options.to_dict(),
      data.num_videos,
      config.window or None,
      config.group,
      config.grouping,
      config.threshold,
      config.processes,
    )

  def truth(self) -> truth_lib.Truth:
    """The split, with its ground truth where that is public."""
    return truth_lib.Truth(
      self.name,
      self.path,
      self.split,
      sorted(self.options.items()),
      num_videos=self.num_videos,
    )


@dataclasses.dataclass(frozen=True)
class Result:
  """What an evaluation gave.

  Attributes:
    scores: None where the ground truth is not public, and in all processes
      but the first.
    units: that were predicted now.
    seconds: that this took.
    idle_shares: of the devices, of the time of predicting.
  """

  scores: scores_lib.Scores | None
  folder: pathlib.Path
  settings: Settings
  units: int
  seconds: float
  idle_shares: Sequence[float]

  def describe(self) -> str:
    """The table of scores and the use of the devices, for people."""
    idle = ", ".join(f"{100 * share:.0f} %" for share in self.idle_shares)
    lines = ["all predictions were there already"]
    if self.units:
      lines = [
        f"predicted {self.units} videos or frames in {self.seconds:.1f} s; "
        f"devices were idle for {idle} of it"
      ]
    if self.scores:
      lines.append(self.scores.table())
    else:
      lines.append("the ground truth is not there: nothing is scored")
      if self.settings.name in submission.TOP:
        lines.append(
          f"`sgmg submit {self.settings.path} {self.folder} --data "
          f"{self.settings.name} --out submission.zip` packs the predictions "
          "for the server"
        )
    lines.append(f"written: {self.folder}")
    return "\n".join(lines)


def evaluate(
  predictors: Sequence[predictor_lib.Predictor],
  settings: Settings,
  out: str | os.PathLike,
  *,
  truth: truth_lib.Truth | None = None,
  overwrite: bool = False,
  progress: Progress | None = None,
) -> Result:
  """Predict a benchmark into a folder and score it.

  Args:
    predictors: one for each device of this process, of the same checkpoint.
    settings: see there.
    out: folder; of an interrupted run of the same settings and checkpoint it
      is completed.
    truth: of the settings, if it is open already.
    overwrite: delete another run's predictions there.
    progress: called when a unit is done.

  Raises:
    UserError: the data set cannot be read, a setting does not fit, or `out`
      holds something else.
  """
  truth = truth or settings.truth()
  source = truth.sentences
  predictor = predictors[0]
  group = settings.group or predictor.max_group or stages.GROUP
  kind = predictions.kind_of(settings.name)(
    source,
    settings.window,
    predictor.group_size(group),
    settings.grouping,
    settings.threshold,
    memory_estimate.free(predictor.device, sharing=len(predictors)),
  )
  everything = units.of_source(source)
  run = _identity(predictor, settings, everything)
  if predictor.max_group:
    run |= {
      "group": group,
      "grouping": settings.grouping,
      "decouple": predictor.variant.decouple,
      "fusion_scale": predictor.variant.fusion_scale,
    }
  index, count = jax.process_index(), jax.process_count()
  with contextlib.ExitStack() as stack:
    if index == 0:
      stack.enter_context(prediction_folder.alone(out))
      folder = PredictionFolder(out, run, overwrite=overwrite)
    distributed.wait_for_others("evaluation: folder")
    if index:
      folder = PredictionFolder(out, run, worker=index)
    mine = everything[index::count]
    todo = [unit for unit in mine if unit.name not in folder.done]
    if progress:
      progress(len(mine) - len(todo), len(mine))
    start = time.perf_counter()
    usages = _predict(kind, predictors, todo, folder, progress, len(mine))
    seconds = time.perf_counter() - start
    distributed.wait_for_others("evaluation: predictions")
    scores = None
    if index == 0:
      records = folder.records([unit.name for unit in everything])
      notes = kind.finish(folder, records)
      if truth.is_public:
        scores = protocols.score(
          truth, folder.predictions, processes=settings.processes or None
        )
        scores = dataclasses.replace(scores, notes=(*scores.notes, *notes))
        scores.save(folder.path)
    distributed.wait_for_others("evaluation: scores")
    return Result(
      scores,
      folder.path,
      settings,
      len(todo),
      seconds,
      [usage.idle_share for usage in usages if usage.wall],
    )


def _predict(
  kind: predictions.Kind,
  predictors: Sequence[predictor_lib.Predictor],
  todo: Sequence[units.Unit],
  folder: PredictionFolder,
  progress: Progress | None,
  total: int,
) -> list[overlap.Usage]:
  """Share out the units between the devices."""
  shared = units.Shared(todo)

  def done(unit, parts):
    folder.add(unit.name, kind.record(unit, parts))
    if progress:
      progress(1, total)

  def work(predictor):
    try:
      return overlap.run(
        shared,
        read=lambda unit: (unit, kind.read(predictor, unit)),
        compute=lambda read: kind.compute(predictor, *read),
        write=lambda unit, part: kind.write(predictor, unit, part, folder),
        done=done,
      )
    finally:
      # After an error the other devices stop, too.
      shared.end()

  if len(predictors) == 1:
    return [work(predictors[0])]
  with concurrent.futures.ThreadPoolExecutor(len(predictors)) as pool:
    try:
      return list(pool.map(work, predictors))
    finally:
      # Or who stops it by Ctrl-C would wait until all is done.
      shared.end()


def _identity(
  predictor: predictor_lib.Predictor,
  settings: Settings,
  everything: Sequence[units.Unit],
) -> dict[str, Any]:
  """All that predictions depend on."""
  return {
    "checkpoint": predictor.name,
    "parameters": _digest(predictor.params),
    "dtype": predictor.dtype,
    "precision": predictor.precision,
    "preprocess": predictor.preprocess,
    "data": settings.name,
    "split": settings.split,
    "options": dict(settings.options),
    "num_videos": settings.num_videos,
    "sentences": units.digest(everything),
    "window": settings.window,
    "threshold": settings.threshold,
  }


def _digest(params: Any) -> str:
  result = hashlib.sha256()
  for path, leaf in jax.tree.leaves_with_path(params):
    result.update(jax.tree_util.keystr(path).encode())
    result.update(np.ascontiguousarray(np.asarray(leaf)).data)
  return result.hexdigest()
