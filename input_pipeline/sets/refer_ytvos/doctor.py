"""Ref-YouTube-VOS, and own data in its layout.

```
meta_expressions/<split>/meta_expressions.json
<split>/JPEGImages/<video>/<frame>.jpg
<split>/Annotations/<video>/<frame>.png      train; own data: any split
<split>/meta.json                            likewise
```

The published valid file holds the videos of test, too: those are left out of
valid, and their frames need not be there.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import source
from sgmg_jax.input_pipeline.doctor import (
  expression_file,
  files,
  findings,
  frames,
  plan,
)
from sgmg_jax.input_pipeline.layouts import frame_folders
from sgmg_jax.input_pipeline.sets.refer_ytvos.about import ABOUT

# Of the published valid file: valid and test together.
_VALID_AND_TEST: Final = sum(
  ABOUT.published[split]["videos"] for split in ("valid", "test")
)


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the small files of every split."""
  result = plan.Plan("refer_ytvos", root)
  log = result.findings
  names = files.names_in(root / "meta_expressions")
  read = {
    split: expression_file.read(
      sentence_file(root, split), log, train=split == "train"
    )
    for split in names
  }
  for split in ("train", "valid"):
    if split not in read and (root / split / "JPEGImages").is_dir():
      log.add(
        "file-missing",
        f"{split}/JPEGImages has no expressions",
        file=sentence_file(root, split),
      )
  for split, videos in read.items():
    if videos is not None:
      if split == "valid":
        videos = _without_test(videos, read.get("test"), root, log)
      images, labels = root / split / "JPEGImages", root / split / "Annotations"
      masked = split in result.train or labels.is_dir()
      check_meta(root / split / "meta.json", videos, log, needed=masked)
      if images.is_dir():
        _check_extra(images, videos, log)
      add_split(
        result,
        split,
        videos,
        sentence_file(root, split),
        images,
        labels if masked else None,
        fast=fast,
      )
  return result


def sentence_file(root: pathlib.Path, split: str) -> pathlib.Path:
  return root / "meta_expressions" / split / "meta_expressions.json"


def add_split(
  result: plan.Plan,
  split: str,
  videos: Mapping[str, expression_file.Video],
  sentences: pathlib.Path,
  images: pathlib.Path,
  labels: pathlib.Path | None,
  *,
  fast: bool,
  severity: findings.Severity = "error",
  void: frozenset[int] = frozenset(),
) -> None:
  """Adds the checks of one split to the plan.

  Args:
    sentences: where the expressions were read from.
    images: folder of the videos' folders of frames.
    labels: the same of label maps; None without ground truth.
    severity: of a described object without pixels.
    void: mask values that are no objects.
  """
  log = result.findings
  described = {(v.name, i) for v in videos.values() for i in v.described()}
  result.counts[split] = {
    "videos": len(videos),
    "expressions": sum(len(video.entries) for video in videos.values()),
    "objects": len(described),
  }
  result.sentences += expression_file.sentences(videos, split, sentences)
  if not images.is_dir():
    if split == "test":
      log.add("file-optional", "frames of test, not needed", file=images)
    else:
      log.add("file-missing", "no such folder", file=images)
    return
  there = set(files.names_in(images))
  for video in videos.values():
    if video.name not in there:
      log.add(
        "video-missing",
        f"no frames, but listed in {sentences}",
        file=images / video.name,
        video=video.name,
      )
      continue
    result.tasks.append(
      functools.partial(
        check_video,
        video,
        images / video.name,
        labels / video.name if labels else None,
        sentences,
        split=split,
        fast=fast,
        severity=severity,
        void=void,
      )
    )
    result.examples += _examples(video, split, images, labels)


def check_video(
  video: expression_file.Video,
  images: pathlib.Path,
  labels: pathlib.Path | None,
  sentences: pathlib.Path,
  *,
  split: str,
  fast: bool,
  severity: findings.Severity,
  void: frozenset[int],
) -> plan.Outcome:
  """Frames, masks, and whether the masks show what the sentences describe."""
  out = plan.Outcome()
  sizes = frames.check_frames(
    images, video.frames, out, split=split, video=video.name, fast=fast
  )
  if labels is None:
    return out
  if not labels.is_dir():
    out.findings.add(
      "mask-missing", "no such folder", file=labels, video=video.name
    )
    return out
  pixels = frames.check_masks(
    labels, video.frames, sizes, out.findings, video=video.name, fast=fast
  )
  if pixels is not None:
    frames.check_objects(
      video.described(),
      pixels,
      out.findings,
      file=sentences,
      video=video.name,
      severity=severity,
      ignored=void,
    )
  return out


def _without_test(videos, test, root, log) -> dict:
  """The videos of valid that are not test's."""
  if test is not None:
    return {name: v for name, v in videos.items() if name not in test}
  if len(videos) != _VALID_AND_TEST:
    return videos
  there = {
    name: video
    for name, video in videos.items()
    if (root / "valid" / "JPEGImages" / name).is_dir()
  }
  log.add(
    "file-optional",
    f"absent: the {len(there)} videos with frames count as valid",
    file=sentence_file(root, "test"),
  )
  return there


def check_meta(path, videos, log, *, needed: bool) -> None:
  """Every described object has an entry with a category."""
  if not path.exists() and not needed:
    return
  content = files.read_json(path, log)
  if content is None:
    return
  known = content.get("videos")
  if not isinstance(known, dict):
    log.add("malformed", 'expected an object "videos"', file=path)
    return
  for video in videos.values():
    entry = known.get(video.name)
    objects = entry.get("objects") if isinstance(entry, dict) else None
    for object_id, ids in video.described().items():
      about = objects.get(str(object_id)) if isinstance(objects, dict) else None
      if not isinstance(about, dict) or not about.get("category"):
        log.add(
          "object-unknown",
          f"object {object_id} or its category is not there; label 0 is used",
          file=path,
          video=video.name,
          expression=files.some(ids),
        )


def _check_extra(images, videos, log) -> None:
  extra = sorted(set(files.names_in(images)) - set(videos))
  if extra:
    log.add(
      "video-extra",
      f"{len(extra)} folders without expressions: {files.some(extra)}",
      file=images,
    )


def _examples(video, split, images, labels) -> list[plan.Example]:
  if not video.frames:
    return []
  frame = video.frames[len(video.frames) // 2]
  return [
    plan.Example(
      split,
      video.name,
      entry.id,
      entry.text,
      functools.partial(
        _load,
        images / video.name,
        frame,
        labels / video.name if labels else None,
        entry.object_ids,
      ),
    )
    for entry in video.entries
  ]


def _load(folder, name, labels, object_ids):
  frame = files.read_rgb(frames.images_in(folder)[name])
  if labels is None or object_ids is None:
    return frame, None
  path = frame_folders.find(labels, name, (".png",))
  masks = source.decode_labels(regular_file.read_bytes(path), str(path))
  return frame, np.isin(masks, object_ids)
