"""MeViS: sentences about several objects, masks as run-length codes.

```
<split>/JPEGImages/<video>/<frame>.jpg
<split>/meta_expressions.json       "anno_id": [int], "obj_id": [int]
                                    version 2: meta_expressions_v2*.json
<split>/mask_dict.json              anno_id -> a COCO RLE or null each frame
```

Split valid has no masks.
"""

from __future__ import annotations

import functools
import pathlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sgmg_jax.input_pipeline import run_lengths
from sgmg_jax.input_pipeline.doctor import (
  expression_file,
  files,
  findings,
  frames,
  plan,
)
from sgmg_jax.input_pipeline.layouts import mask_dict
from sgmg_jax.input_pipeline.sets.mevis import reader

_NO_MASKS: Final = "valid"


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the small files of every split, and the masks' codes."""
  result = plan.Plan("mevis", root)
  for split in reader.SPLITS:
    if (root / split).is_dir():
      _add_split(result, split, fast=fast)
    else:
      result.findings.add("file-optional", "no such split", file=root / split)
  return result


def _sentence_file(folder: pathlib.Path) -> pathlib.Path:
  """Version 1 of the sentences if it is there, as readers choose."""
  first, second = (folder / reader.FILES[v][folder.name] for v in (1, 2))
  return second if second.exists() and not first.exists() else first


def _add_split(result: plan.Plan, split: str, *, fast: bool) -> None:
  folder, log = result.root / split, result.findings
  path, mask_path = _sentence_file(folder), folder / "mask_dict.json"
  masked = split != _NO_MASKS or mask_path.exists()
  videos = expression_file.read(
    path, log, train=split != _NO_MASKS, key="anno_id", ids=mask_dict.IDS
  )
  masks = files.read_json(mask_path, log) if masked else None
  if videos is None:
    return
  described = {(v.name, i) for v in videos.values() for i in v.described()}
  result.counts[split] = {
    "videos": len(videos),
    "expressions": sum(len(video.entries) for video in videos.values()),
    "objects": len(described),
  }
  result.sentences += expression_file.sentences(videos, split, path)
  _check_ids(videos, masks, log, path, mask_path)
  images = folder / "JPEGImages"
  there = set(files.names_in(images))
  for video in videos.values():
    if video.name not in there:
      log.add(
        "video-missing",
        f"listed in {path}",
        file=images / video.name,
        video=video.name,
      )
      continue
    codes = {
      i: masks[str(i)] for i in video.described() if str(i) in (masks or {})
    }
    result.tasks.append(
      functools.partial(
        _check_video, video, images, codes, mask_path, split=split, fast=fast
      )
    )
    result.examples += _examples(video, split, images, codes, masked)


def _check_ids(videos, masks, log, path, mask_path) -> None:
  """Every annotation has a mask, of one video; obj_id goes with anno_id."""
  owners = defaultdict(set)
  for video in videos.values():
    for annotation, ids in video.described().items():
      owners[annotation].add(video.name)
      if masks is not None and str(annotation) not in masks:
        log.add(
          "annotation-missing",
          f"anno_id {annotation} is not there",
          file=mask_path,
          video=video.name,
          expression=files.some(ids),
        )
    for entry in video.entries:
      objects = entry.raw.get("obj_id")
      if (
        isinstance(objects, list)
        and entry.object_ids is not None
        and len(objects) != len(entry.object_ids)
      ):
        log.add(
          "object-id-malformed",
          f"obj_id {objects} and anno_id {entry.raw.get('anno_id')}: expected "
          "as many of both",
          file=path,
          video=video.name,
          expression=entry.id,
        )
  for annotation, names in owners.items():
    if len(names) > 1:
      log.add(
        "object-id-malformed",
        f"anno_id {annotation} is used in several videos: "
        f"{files.some(sorted(names))}",
        file=path,
      )
  used = set(map(str, owners))
  unused = [key for key in masks or () if key not in used]
  if unused:
    log.add(
      "object-undescribed",
      f"no sentence for {len(unused)} anno_ids: {files.some(unused)}",
      file=mask_path,
    )


def _check_video(
  video: expression_file.Video,
  images: pathlib.Path,
  codes: dict[int, Any],
  mask_path: pathlib.Path,
  *,
  split: str,
  fast: bool,
) -> plan.Outcome:
  out = plan.Outcome()
  sizes = frames.check_frames(
    images / video.name,
    video.frames,
    out,
    split=split,
    video=video.name,
    fast=fast,
  )
  described = video.described()
  for annotation, rows in codes.items():
    _check_codes(
      annotation,
      rows,
      [sizes.get(name) for name in video.frames],
      out.findings,
      fast=fast,
      file=mask_path,
      video=video.name,
      expression=files.some(described[annotation]),
    )
  return out


def _check_codes(
  annotation: int,
  rows: Any,
  sizes: Sequence[frames.Size | None],
  log: findings.Findings,
  *,
  fast: bool,
  **where,
) -> None:
  """A code for each frame, of the frame's size, and some pixels in all."""
  if not isinstance(rows, list) or len(rows) != len(sizes):
    number = len(rows) if isinstance(rows, list) else type(rows).__name__
    log.add(
      "mask-shape",
      f"anno_id {annotation}: {number} masks for {len(sizes)} frames",
      **where,
    )
    return
  shown = False
  for index, (code, size) in enumerate(zip(rows, sizes)):
    if code is None:
      continue
    what = f"anno_id {annotation} frame {index}"
    has = files.has_pixels(code, size, log, fast=fast, what=what, **where)
    shown |= has is not False
  if not shown:
    log.add(
      "object-without-pixels",
      f"anno_id {annotation} has no pixel in any frame",
      **where,
    )


def _examples(video, split, images, codes, masked) -> list[plan.Example]:
  if not video.frames:
    return []
  middle = len(video.frames) // 2
  return [
    plan.Example(
      split,
      video.name,
      entry.id,
      entry.text,
      functools.partial(
        _load,
        images / video.name,
        video.frames[middle],
        [codes.get(i) for i in entry.object_ids or ()] if masked else None,
        middle,
      ),
    )
    for entry in video.entries
  ]


def _load(folder, name, codes, index):
  frame = files.read_rgb(frames.images_in(folder)[name])
  if codes is None:
    return frame, None
  mask = np.zeros(frame.shape[:2], bool)
  for rows in codes:
    if rows is not None and rows[index] is not None:
      mask |= run_lengths.decode(rows[index])
  return frame, mask
