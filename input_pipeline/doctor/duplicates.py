"""Equal frames within a data set, and what training and evaluation share."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from sgmg_jax.input_pipeline.doctor import files, findings, plan

# A data set and the frames read of it.
Read = tuple[plan.Plan, Sequence[plan.Frame]]


def check(frames: Sequence[plan.Frame]) -> findings.Findings:
  """Equal files within one data set: in one video, or in two."""
  log = findings.Findings()
  videos = defaultdict(set)
  repeated = Counter()
  for group in _equal(frames):
    if len({frame.file for frame in group}) > 1:
      owners = {(frame.split, frame.video) for frame in group}
      for owner in owners:
        same = {f.file for f in group if (f.split, f.video) == owner}
        if len(same) > 1:
          repeated[owner, min(same)] += len(same) - 1
      for pair in itertools.combinations(sorted(owners), 2):
        # Between splits it is a leak, and reported as such.
        if pair[0][0] == pair[1][0]:
          videos[pair].add(group[0].file)
  stills = defaultdict(list)
  for (owner, file), number in repeated.items():
    stills[owner].append((file, number))
  for (_, video), parts in stills.items():
    number = sum(n for _, n in parts)
    log.add(
      "frame-repeated",
      f"{number} frames equal another of the video",
      file=parts[0][0],
      video=video,
    )
  for ((_, one), (_, other)), same in videos.items():
    log.add(
      "frame-duplicate",
      f"{len(same)} frames are also in video {other!r}",
      file=min(same),
      video=one,
    )
  return log


def check_leaks(sets: Sequence[Read]) -> findings.Findings:
  """What a split that is trained on shares with one that is evaluated on.

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
  where = {}
  for examined, frames in sets:
    for frame in frames:
      kind = frame.split in examined.train
      where[id(frame)] = (examined.name, frame.split, kind)
  shared = defaultdict(list)
  for group in _equal(itertools.chain(*(frames for _, frames in sets))):
    for one, other in itertools.product(group, group):
      # One file may be an image of several splits: see _check_images.
      if where[id(one)][2] and not where[id(other)][2]:
        if one.file != other.file:
          key = where[id(one)][:2], one.video, where[id(other)][:2], other.video
          shared[key].append(other.file)
  for (train, one, evaluation, other), same in shared.items():
    log.add(
      "leak-frame",
      f"{len(set(same))} frames are also in {' '.join(train)} video {one!r}, "
      f"which is trained on; this is {' '.join(evaluation)}",
      file=min(same),
      video=other,
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
