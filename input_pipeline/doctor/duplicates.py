"""Equal frames within a data set, and between training and evaluation."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

from sgmg_jax.input_pipeline.doctor import files, findings, plan

# A data set and the frames read of it.
Read = tuple[plan.Plan, Sequence[plan.Frame]]


def check(frames: Sequence[plan.Frame]) -> findings.Findings:
  """Equal files within one data set: in one video, or in several."""
  log = findings.Findings()
  stills, shared = defaultdict(list), defaultdict(list)
  for group in _equal(frames):
    # Between splits it is a leak, and reported as such.
    for split in sorted({frame.split for frame in group}):
      by_video = defaultdict(set)
      for frame in group:
        if frame.split == split:
          by_video[frame.video].add(frame.file)
      for video, same in by_video.items():
        if len(same) > 1:
          stills[video].append(same)
      if len(by_video) > 1:
        shared[tuple(sorted(by_video))].append(by_video)
  for video, groups in stills.items():
    log.add(
      "frame-repeated",
      f"{sum(len(same) - 1 for same in groups)} frames equal another one",
      file=min(groups[0]),
      video=video,
    )
  for videos, groups in shared.items():
    log.add(
      "frame-duplicate",
      f"{len(groups)} frames are also in video {files.some(videos[1:])}",
      file=min(groups[0][videos[0]]),
      video=videos[0],
    )
  return log


def check_leaks(sets: Sequence[Read]) -> findings.Findings:
  """Find what training shares with evaluation.

  Equal files, equal names of videos of different sets, and the images that
  the RefCOCO sets share by design.
  """
  log = findings.Findings()
  _check_frames(sets, log)
  _check_names([examined for examined, _ in sets], log)
  for examined, _ in sets:
    _check_images(examined, log)
  return log


def _equal(frames) -> list[list[plan.Frame]]:
  """Groups of two frames or more with equal files."""
  groups = defaultdict(list)
  for frame in frames:
    groups[frame.digest].append(frame)
  return [group for group in groups.values() if len(group) > 1]


def _check_frames(sets: Sequence[Read], log) -> None:
  """One finding for each video that is evaluated on."""
  owners = [(examined, frame) for examined, frames in sets for frame in frames]
  of_frame = {id(frame): examined for examined, frame in owners}
  found = defaultdict(lambda: (set(), set()))
  for group in _equal([frame for _, frame in owners]):
    train, evaluation = {}, []
    for frame in group:
      examined = of_frame[id(frame)]
      name = f"{examined.name} {frame.split} {frame.video}"
      if frame.split in examined.train:
        train.setdefault(frame.file, name)
      else:
        evaluation.append((frame, name))
    for frame, name in evaluation:
      # One file may be an image of several splits: see _check_images.
      others = {n for file, n in train.items() if file != frame.file}
      if others:
        same, videos = found[name, frame.video]
        same.add(frame.file)
        videos.update(others)
  for (name, video), (same, videos) in found.items():
    log.add(
      "leak-frame",
      f"{len(same)} frames of {name} are trained on in "
      f"{files.some(sorted(videos))}",
      file=min(same),
      video=video,
    )


def _check_names(plans: Sequence[plan.Plan], log) -> None:
  videos = {}
  for number, examined in enumerate(plans):
    if examined.images:
      continue
    for sentence in examined.sentences:
      key = number, sentence.split
      videos.setdefault(key, {})[sentence.video] = sentence.file
  for (one, train), (two, evaluation) in itertools.product(videos, videos):
    if train in plans[one].train and evaluation not in plans[two].train:
      same = sorted(videos[one, train].keys() & videos[two, evaluation].keys())
      if same:
        log.add(
          "leak-video",
          f"{len(same)} videos of {plans[two].name} {evaluation} have the "
          f"names of videos of {plans[one].name} {train}: {files.some(same)}",
          file=videos[two, evaluation][same[0]],
          video=same[0],
        )


def _check_images(examined: plan.Plan, log) -> None:
  for train in sorted(examined.train & examined.images.keys()):
    for evaluation, images in examined.images.items():
      same = sorted(examined.images[train] & images)
      if same and evaluation not in examined.train:
        own = train.split()[0] == evaluation.split()[0]
        log.add(
          "leak-image",
          f"{len(same)} images of {evaluation} are also in {train}: "
          f"{files.some(same, 2)}",
          file=examined.root,
          severity="error" if own else "warning",
        )
