"""A2D-Sentences: mp4 clips, h5 masks of a few frames each.

```
Release/videoset.csv
Release/CLIPS320/<video>.mp4                     or clips320H/
text_annotations/a2d_annotation.txt
text_annotations/a2d_missed_videos.txt
text_annotations/a2d_annotation_with_instances/<video>/<frame from 1>.h5
a2d_sentences_single_frame_{train,test}_annotations.json        made if missing
a2d_sentences_test_annotations_in_coco_format.json              made if missing
```
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections import defaultdict
from typing import Any, Final

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import extras, run_lengths
from sgmg_jax.input_pipeline.doctor import (
  files,
  ground_truth_file,
  movies,
  plan,
)
from sgmg_jax.input_pipeline.sets.a2d import annotation, convert, reader

_COLUMNS: Final = 9
# One row of the published file; readers drop it.
_COPY: Final = "1 (copy)"


@dataclasses.dataclass(frozen=True)
class _Video:
  """Where a video lies and what is said of it.

  Attributes:
    instances: ids the sentences name.
    samples: (frame from 1, instance id) of the single-frame list.
    truth: run-length code by image id, of test.
  """

  name: str
  split: str
  clip: pathlib.Path
  labels: pathlib.Path
  texts: pathlib.Path
  listed: pathlib.Path
  instances: frozenset[int]
  samples: tuple[tuple[int, int], ...]
  truth: dict[str, Any]


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the lists, and checks them against each other."""
  if not fast:
    extras.require("h5py", "reading A2D-Sentences")
  result = plan.Plan("a2d", root)
  log = result.findings
  texts = root / "text_annotations"
  subsets = _read_videoset(root / "Release" / "videoset.csv", log)
  missed = _read_missed(texts / "a2d_missed_videos.txt", subsets, log)
  rows = files.read_csv(texts / "a2d_annotation.txt", log)
  result.sentences = _read_sentences(
    rows, subsets, missed, log, texts / "a2d_annotation.txt"
  )
  result.counts["all"] = {
    "clips": len(subsets),
    "rows": max(0, len(rows) - 1),
  }
  truth_file = root / "a2d_sentences_test_annotations_in_coco_format.json"
  truth = ground_truth_file.read(truth_file, log, fast=fast)
  clips = _clips(root / "Release", log)
  described = defaultdict(list)
  for sentence in result.sentences:
    described[sentence.video].append(sentence)
  for split in convert.SUBSETS:
    listed = convert.examples_file(root, split)
    samples = _read_samples(listed, subsets, split, log)
    used = [
      video
      for video, subset in subsets.items()
      if subset == split and video not in missed
    ]
    result.counts[split] = {"videos": len(used)}
    if split == "test" and truth is not None and samples:
      names = {
        _image_id(video, *sample)
        for video, several in samples.items()
        for sample in several
      }
      ground_truth_file.check_ids(truth, names, log, truth_file)
    for name in used:
      if clips is not None:
        video = _Video(
          name,
          split,
          clips / f"{name}.mp4",
          texts / "a2d_annotation_with_instances" / name,
          texts / "a2d_annotation.txt",
          listed,
          frozenset(s.objects[0] for s in described[name]),
          tuple(samples.get(name, ())),
          (truth or {}) if split == "test" else {},
        )
        result.tasks.append(functools.partial(_check_video, video, fast=fast))
        result.examples += _examples(video, described[name])
  return result


def _read_videoset(path, log) -> dict[str, str]:
  """Split by video."""
  names = {number: split for split, number in convert.SUBSETS.items()}
  subsets = {}
  for number, row in enumerate(files.read_csv(path, log), 1):
    if len(row) != _COLUMNS or row[-1] not in names:
      log.add(
        "malformed",
        f"line {number}: {len(row)} columns, the last {row[-1]!r}; expected "
        f"{_COLUMNS}, the last 0 or 1",
        file=path,
      )
    else:
      subsets[row[0]] = names[row[-1]]
  return subsets


def _read_missed(path, subsets, log) -> set[str]:
  """Videos without annotations."""
  missed = {row[0] for row in files.read_csv(path, log)}
  for video in sorted(missed - subsets.keys()) if subsets else ():
    log.add(
      "reference-unknown",
      "not in videoset.csv",
      file=path,
      video=video,
      severity="warning",
    )
  return missed


def _read_sentences(rows, subsets, missed, log, path) -> list[plan.Sentence]:
  header = ["video_id", "instance_id", "query"]
  if rows and rows[0] != header:
    log.add("malformed", f"header {rows[0]}, expected {header}", file=path)
  sentences = []
  for number, row in enumerate(rows[1:], 2):
    if len(row) != len(header):
      log.add(
        "malformed",
        f"line {number}: {len(row)} columns, expected {len(header)}",
        file=path,
      )
      continue
    video, instance, text = row
    where = dict(file=path, video=video, expression=f"line {number}")
    if video not in subsets:
      if subsets:
        log.add("reference-unknown", "not in videoset.csv", **where)
    elif instance.isdecimal():
      sentences.append(
        plan.Sentence(
          subsets[video],
          video,
          f"line {number}",
          text,
          (int(instance),),
          str(path),
        )
      )
    elif instance != _COPY:
      log.add(
        "object-id-malformed",
        f"instance {instance!r}, expected a number",
        **where,
      )
  return [sentence for sentence in sentences if sentence.video not in missed]


def _read_samples(path, subsets, split, log) -> dict[str, list]:
  """(frame, instance) by video, of a single-frame list."""
  if not path.exists():
    log.add("file-optional", "absent, made when needed", file=path)
    return {}
  samples = defaultdict(list)
  for number, entry in enumerate(files.read_json(path, log, list) or ()):
    match entry:
      case [str(), str(video), int(frame), int(instance)]:
        samples[video].append((frame, instance))
        if subsets.get(video) != split:
          log.add(
            "reference-unknown",
            f"not a video of {split} in videoset.csv",
            file=path,
            video=video,
            expression=f"entry {number}",
          )
      case _:
        log.add(
          "malformed",
          f"entry {number}: {str(entry)[:80]}, expected [sentence, video, "
          "frame from 1, instance]",
          file=path,
        )
  return samples


def _clips(release, log) -> pathlib.Path | None:
  for name in reader.CLIP_FOLDERS:
    if (release / name).is_dir():
      return release / name
  log.add(
    "file-missing",
    f"no folder of clips: expected {files.some(reader.CLIP_FOLDERS)}",
    file=release,
  )
  return None


def _check_video(video: _Video, *, fast: bool) -> plan.Outcome:
  out = plan.Outcome()
  log = out.findings
  movie = movies.check(video.clip, out, video.split, video.name, fast=fast)
  masks = _read_masks(video, log)
  _check_samples(video, masks, log)
  shown = {i for instances in masks.values() for i in instances}
  for instance in sorted(video.instances - shown) if masks else ():
    log.add(
      "object-without-pixels",
      f"instance {instance} is in no annotated frame: its sentences are unused",
      file=video.texts,
      video=video.name,
      severity="warning",
    )
  for frame, instances in masks.items():
    file = video.labels / f"{frame:05d}.h5"
    where = dict(file=file, video=video.name)
    if movie and not 1 <= frame <= movie.frames:
      log.add(
        "frame-index",
        f"frame {frame} of a video of {movie.frames} frames",
        **where,
      )
    for instance, mask in instances.items():
      where["expression"] = f"instance {instance}"
      if movie and mask.shape != movie.size:
        log.add(
          "mask-size",
          f"{mask.shape}, expected {movie.size} as {video.clip.name}",
          **where,
        )
      if not mask.any():
        log.add("mask-empty", "no pixel", **where)
      code = video.truth.get(_image_id(video.name, frame, instance))
      if code and not fast and not _same(mask, code):
        log.add("mask-differs", "not the mask of the COCO file", **where)
  return out


def _read_masks(video, log) -> dict[int, dict[int, np.ndarray]]:
  """Masks by frame, from 1, and instance."""
  masks = {}
  names = files.names_in(video.labels, ".h5")
  if not names:
    log.add(
      "mask-missing",
      "no annotated frames, and not in a2d_missed_videos.txt",
      file=video.labels,
      video=video.name,
    )
  for name in names:
    file = video.labels / f"{name}.h5"
    where = dict(file=file, video=video.name)
    if not name.isdecimal():
      log.add("frame-index", "expected a frame number as its name", **where)
      continue
    try:
      annotation.instance_ids(file)
    except UserError as e:
      log.add("mask-corrupt", str(e).removeprefix(f"{file}: "), **where)
      continue
    try:
      masks[int(name)] = annotation.masks(file)
    except UserError as e:
      log.add("mask-shape", str(e).removeprefix(f"{file}: "), **where)
  return masks


def _check_samples(video, masks, log) -> None:
  """Every entry of the single-frame list has its mask."""
  for frame, instance in video.samples:
    where = dict(video=video.name, expression=f"frame {frame} i {instance}")
    file = video.labels / f"{frame:05d}.h5"
    if frame in masks and instance not in masks[frame]:
      log.add(
        "object-without-pixels",
        f"no instance {instance}; it has {files.some(masks[frame]) or 'none'}",
        file=file,
        **where,
      )
    elif not file.exists():
      log.add(
        "mask-missing", f"listed in {video.listed.name}", file=file, **where
      )


def _image_id(video: str, frame: int, instance: int) -> str:
  return f"v_{video}_f_{frame}_i_{instance}"


def _same(mask: np.ndarray, code) -> bool:
  return np.array_equal(mask, run_lengths.decode(code))


def _examples(video: _Video, sentences) -> list[plan.Example]:
  return [
    plan.Example(
      video.split,
      video.name,
      sentence.id,
      sentence.text,
      functools.partial(_load, video, sentence.objects[0]),
    )
    for sentence in sentences
  ]


def _load(video: _Video, instance: int):
  for name in files.names_in(video.labels, ".h5"):
    masks = annotation.masks(video.labels / f"{name}.h5")
    if instance in masks:
      return movies.read_frame(video.clip, int(name) - 1), masks[instance]
  raise UserError(f"{video.labels}: no instance {instance}")
