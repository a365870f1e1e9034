"""Recognise data sets, run their checks in parallel, collect findings."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Final

import tqdm

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.doctor import (
  counts,
  duplicates,
  findings,
  plan,
  sentences,
)
from sgmg_jax.input_pipeline.sets import registry

# What is examined, in the order in which it is tried: Ref-DAVIS17 may hold the
# files of Ref-YouTube-VOS, too, the first of the registry.
NAMES: Final = tuple(
  folder
  for folder in reversed(registry.FOLDERS)
  if registry.about(folder).looked_for
)


@dataclasses.dataclass(frozen=True)
class Examined:
  """One data set: what was planned, read and found."""

  plan: plan.Plan
  frames: list[plan.Frame]
  findings: findings.Findings


@dataclasses.dataclass(frozen=True)
class Report:
  """All data sets, and what was found between them.

  Attributes:
    fast: only existence, headers and small files were checked.
  """

  sets: list[Examined]
  leaks: findings.Findings
  fast: bool

  def all_findings(self) -> findings.Findings:
    every = findings.Findings()
    for examined in self.sets:
      every += examined.findings
    every += self.leaks
    return every


def recognise(root: pathlib.Path) -> str:
  """Name of the data set in a folder.

  Raises:
    UserError: no such folder, or nothing of any data set in it.
  """
  if not root.is_dir():
    raise UserError(f"{root}: no such folder, expected a data set")
  name = _recognise(root)
  if name:
    return name
  inside = [
    f"{child} ({_recognise(child)})"
    for child in sorted(root.iterdir())
    if child.is_dir() and _recognise(child)
  ]
  if inside:
    raise UserError(f"{root}: no data set, but these are: {', '.join(inside)}")
  looked_for = (
    f"{', '.join(registry.about(name).looked_for)} ({name})" for name in NAMES
  )
  raise UserError(f"{root}: no data set; looked for {'; '.join(looked_for)}")


def examine(
  roots: Sequence[str | os.PathLike],
  *,
  name: str | None = None,
  fast: bool = False,
  policy: counts.Policy = "auto",
  workers: int | None = None,
) -> Report:
  """Examine data sets, each and against each other; on a terminal, with a bar.

  Args:
    name: of the data set in all of them; None recognises it.
    fast: read no more than headers: no decoding, no duplicates.
    workers: threads; None for one each core.

  Raises:
    UserError: a folder is not there, or not a data set.
  """
  folders = [pathlib.Path(root) for root in roots]
  names = [name or recognise(folder) for folder in folders]
  for folder in folders:
    if not folder.is_dir():
      raise UserError(f"{folder}: no such folder, expected a data set")
  sets = []
  for folder, each in zip(folders, names):
    # Imported when needed: some want h5py or scipy.
    made = registry.module(each, "doctor").make_plan(folder, fast=fast)
    outcomes = _run(made, workers)
    found = findings.Findings(made.findings)
    found += sentences.check(made.sentences)
    found += counts.check(made, policy)
    for outcome in outcomes:
      found += outcome.findings
    frames = [frame for outcome in outcomes for frame in outcome.frames]
    found += duplicates.check(frames)
    sets.append(Examined(made, frames, found))
  leaks = duplicates.check_leaks([(e.plan, e.frames) for e in sets])
  return Report(sets, leaks, fast)


def _recognise(root: pathlib.Path) -> str | None:
  for name in NAMES:
    if any(any(root.glob(p)) for p in registry.about(name).looked_for):
      # The folder's name may tell a set from another of its layout.
      called = root.resolve().name.lower()
      for about in map(registry.about, NAMES):
        if about.layout_of == name and about.called in called:
          return about.folder
      return name
  return None


def _run(made: plan.Plan, workers: int | None) -> list[plan.Outcome]:
  """Outcomes in the order of the tasks.

  Threads: image and video decoding release Python's lock.
  """
  pool = concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count())
  try:
    running = pool.map(lambda task: task(), made.tasks)
    bar = tqdm.tqdm(
      running,
      desc=made.name,
      total=len(made.tasks),
      unit="part",
      # None: only on a terminal.
      disable=None,
    )
    return list(bar)
  finally:
    pool.shutdown(cancel_futures=True)
