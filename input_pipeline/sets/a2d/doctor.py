"""A2D-Sentences: mp4 clips, h5 masks of a few frames each, see `reader`.

Beside them may lie a2d_sentences_test_annotations_in_coco_format.json.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections import defaultdict
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import (
  optional_packages,
  run_lengths,
  video_decoder,
)
from sgmg_jax.input_pipeline.doctor import (
  files,
  ground_truth_file,
  plan,
)
from sgmg_jax.input_pipeline.layouts import video_frames
from sgmg_jax.input_pipeline.sets.a2d import annotation, convert, reader


@dataclasses.dataclass(frozen=True)
class _Video:
  """Place of a video and the sentences, samples and masks about it.

  Attributes:
    instances: ids the sentences name.
    samples: (frame from 1, instance id) of the single-frame list.
    truth: run-length code by image id, of test.
  """

  name: str
  split: str
  root: pathlib.Path
  clip: pathlib.Path
  listed: pathlib.Path
  instances: frozenset[int]
  samples: tuple[tuple[int, int], ...]
  truth: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Movie:
  """Number of frames and their (height, width) in pixels."""

  frames: int
  size: tuple[int, int]


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Read the lists, and check them against each other."""
  if not fast:
    optional_packages.require("h5py", "reading A2D-Sentences")
  result = plan.Plan("a2d", root)
  log = result.findings
  subsets, missed, rows, clips = {}, set(), [], None
  with log.caught():
    subsets = convert.videos(root, log.add)
  with log.caught():
    missed = _read_missed(root, subsets, log)
  with log.caught():
    rows = convert.read_rows(root, log.add)
  with log.caught():
    clips = reader.clip_folder(root)
  described = _read_sentences(rows, subsets, missed, log, root)
  result.sentences = [s for group in described.values() for s in group]
  result.counts["all"] = {"clips": len(subsets), "rows": len(rows)}
  truth_file = root / "a2d_sentences_test_annotations_in_coco_format.json"
  truth = ground_truth_file.read(truth_file, log, fast=fast)
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
    for name in used if clips is not None else ():
      video = _Video(
        name,
        split,
        root,
        clips / f"{name}.mp4",
        listed,
        frozenset(s.objects[0] for s in described[name]),
        tuple(samples.get(name, ())),
        (truth or {}) if split == "test" else {},
      )
      result.tasks.append(functools.partial(_check_video, video, fast=fast))
      result.examples += _examples(video, described[name])
  return result


def _read_missed(root, subsets, log) -> set[str]:
  missed = convert.missed_videos(root)
  for video in sorted(missed - subsets.keys()) if subsets else ():
    log.add(
      "reference-unknown",
      "not in videoset.csv",
      file=root / convert.MISSED_FILE,
      video=video,
      severity="warning",
    )
  return missed


def _read_sentences(
  rows, subsets, missed, log, root
) -> dict[str, list[plan.Sentence]]:
  """Sentences by video, of those that are not missed."""
  path = root / convert.TEXT_FILE
  found = defaultdict(list)
  for row in rows:
    name = f"line {row.number}"
    if row.video in subsets:
      instance = convert.instance_id(row, root, log.add)
      if instance is not None and row.video not in missed:
        split, objects = subsets[row.video], (instance,)
        found[row.video].append(
          plan.Sentence(split, row.video, name, row.text, objects, str(path))
        )
    elif subsets:
      log.add(
        "reference-unknown",
        "not in videoset.csv",
        file=path,
        video=row.video,
        expression=name,
      )
  return found


def _read_samples(path, subsets, split, log) -> dict[str, list]:
  """(frame, instance) by video, of a single-frame list."""
  samples = defaultdict(list)
  if not path.exists():
    log.add("file-optional", "absent, made when needed", file=path)
    return samples
  entries = files.read_json(path, log, list) or []
  for e in reader.read_examples(entries, path, log.add):
    samples[e.video].append((e.frame + 1, *e.object_ids))
    if subsets.get(e.video) != split:
      log.add(
        "reference-unknown",
        f"not a video of {split} in videoset.csv",
        file=path,
        video=e.video,
        expression=e.id,
      )
  return samples


def _check_movie(
  video: _Video, out: plan.Outcome, *, fast: bool
) -> _Movie | None:
  """Decode the video's file; with `fast`, read its index only.

  Returns:
    None, and a finding, if it cannot be read to its end.
  """
  path, where = video.clip, dict(file=video.clip, video=video.name)
  if not path.is_file():
    out.findings.add("video-missing", "no such file", **where)
    return None
  if not path.stat().st_size:
    out.findings.add("video-corrupt", "the file is empty", **where)
    return None
  try:
    announced, *size = video_frames.probe(path, video.name)
    # Many videos are decoded at once.
    decoded = () if fast else video_decoder.decode(path, threads=1)
    found = announced if fast else sum(1 for _ in decoded)
  except UserError as e:
    out.findings.add("video-corrupt", str(e), **where)
    return None
  if found != announced:
    out.findings.add(
      "video-corrupt",
      f"{found} frames can be decoded, it announces {announced}",
      **where,
    )
  if not fast:
    data = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    out.frames.append(plan.Frame(video.split, video.name, str(path), data))
  return _Movie(found, tuple(size))


def _check_video(video: _Video, *, fast: bool) -> plan.Outcome:
  out = plan.Outcome()
  log = out.findings
  movie = _check_movie(video, out, fast=fast)
  masks = _read_masks(video, log)
  _check_samples(video, masks, log)
  shown = {i for instances in masks.values() for i in instances}
  for instance in sorted(video.instances - shown) if masks else ():
    log.add(
      "object-without-pixels",
      f"instance {instance} is in no annotated frame: its sentences are unused",
      file=video.root / convert.TEXT_FILE,
      video=video.name,
      severity="warning",
    )
  for frame, instances in masks.items():
    where = dict(file=_label_file(video, frame), video=video.name)
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
  annotated = convert.annotated_frames(video.root, video.name, log.add)
  for frame, file in annotated.items():
    with log.caught(video.name):
      masks[frame] = annotation.masks(file)
  return masks


def _check_samples(video, masks, log) -> None:
  """Check that every entry of the single-frame list has its mask."""
  for frame, instance in video.samples:
    where = dict(video=video.name, expression=f"frame {frame} i {instance}")
    file = _label_file(video, frame)
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


def _label_file(video: _Video, frame: int) -> pathlib.Path:
  folder = video.root / convert.ANNOTATION_FOLDER / video.name
  return folder / f"{frame:05d}.h5"


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
  frames = convert.annotated_frames(video.root, video.name)
  for frame, file in frames.items():
    masks = annotation.masks(file)
    if instance in masks:
      (pixels,) = video_frames.read(video.clip, [frame - 1], video.clip.name)
      return pixels, masks[instance]
  raise UserError(f"{video.name}: no instance {instance}")
