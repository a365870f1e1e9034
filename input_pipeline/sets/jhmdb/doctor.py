"""JHMDB-Sentences: PNG frames, a MATLAB file of masks a video, see `reader`.

Beside them lie jhmdb_annotation.txt and, made if missing,
jhmdb_sentences_gt_annotations_in_coco_format.json.
"""

from __future__ import annotations

import functools
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from sgmg_jax.input_pipeline import run_lengths, source
from sgmg_jax.input_pipeline.doctor import (
  files,
  findings,
  frames,
  ground_truth_file,
  plan,
)
from sgmg_jax.input_pipeline.sets.jhmdb import convert, reader

_TRUTH_FILE: Final = "jhmdb_sentences_gt_annotations_in_coco_format.json"


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Read the lists, and check them against each other."""
  result = plan.Plan("jhmdb", root)
  log = result.findings
  listed, rows_file = root / reader.SAMPLES_FILE, root / "jhmdb_annotation.txt"
  truth = ground_truth_file.read(root / _TRUTH_FILE, log, fast=fast)
  rows = []
  if rows_file.exists():
    with log.caught():
      rows = convert.queries(root, log.add)
  else:
    log.add("file-missing", "no such file", file=rows_file, severity="warning")
  with log.caught():
    data = reader.JHMDB(root, report=log.add)
    by_video = defaultdict(list)
    for e in data.expressions:
      by_video[e.video].append(e)
    if rows_file.exists():
      _check_rows(rows, by_video, log, rows_file)
    result.counts[data.split] = {
      "videos": len(by_video),
      "rows": len(rows),
      "samples": len(data.expressions),
      "actions": len({folder.parent for folder, _, _ in data.files.values()}),
    }
    if truth is not None and by_video:
      names = set(map(_image_id, data.expressions))
      ground_truth_file.check_ids(truth, names, log, root / _TRUTH_FILE)
    for video, group in by_video.items():
      _check_number(group, log, file=listed, video=video)
      # The frames of a video share their sentence.
      result.add_sentences(data, group[:1], listed)
      check = functools.partial(_check_video, data, group, truth or {})
      result.tasks.append(functools.partial(check, fast=fast))
    result.add_examples(data, data.expressions)
  return result


def _image_id(e: source.Expression) -> str:
  return f"v_{e.video}_f_{e.frame + 1}"


def _check_rows(
  rows: Sequence[tuple[str, str]],
  by_video: Mapping[str, Sequence[source.Expression]],
  log: findings.Findings,
  path: pathlib.Path,
) -> None:
  """Check that every evaluated video has its sentence there."""
  there = {(video, " ".join(text.split())) for video, text in rows}
  for video, group in by_video.items():
    texts = [e.text for e in group]
    missing = [x for x in texts if (video, " ".join(x.split())) not in there]
    if missing:
      log.add(
        "reference-unknown",
        f"has not the sentence {missing[0]!r} of {reader.SAMPLES_FILE}",
        file=path,
        video=video,
        severity="warning",
      )


def _check_number(group, log: findings.Findings, **where) -> None:
  if len(group) != convert.FRAMES_PER_VIDEO:
    chosen = files.some(e.frame + 1 for e in group)
    log.add(
      "frame-index",
      f"frames {chosen}, expected {convert.FRAMES_PER_VIDEO} distinct ones",
      severity="warning",
      **where,
    )


def _check_video(
  data: reader.JHMDB,
  group: Sequence[source.Expression],
  truth: Mapping[str, Any],
  *,
  fast: bool,
) -> plan.Outcome:
  out, video = plan.Outcome(), group[0].video
  log = out.findings
  folder, file, num_masks = data.files[video]
  where = dict(file=file, video=video)
  if not folder.is_dir():
    message = f"listed in {reader.SAMPLES_FILE}"
    log.add("video-missing", message, file=folder, video=video)
    return out
  sizes = frames.check_frames(
    folder,
    [f"{number:05d}" for number in range(1, num_masks + 1)],
    out,
    split=data.split,
    video=video,
    fast=fast,
  )
  # Frames after the last mask are never read.
  log[:] = [f for f in log if f.code != "frame-extra"]
  with log.caught(video):
    masks = reader.part_mask(file)
    if masks.dtype.kind not in "bui":
      log.add("mask-shape", f"{masks.dtype} part_mask, expected uint8", **where)
    elif not fast and masks.max(initial=0) > 1:
      log.add("mask-values", f"up to {masks.max()}, expected 0 and 1", **where)
    *size, number = masks.shape
    expected = list(next(iter(sizes.values()), size))
    if size != expected:
      log.add("mask-size", f"{size}, expected {expected}", **where)
    if number != num_masks:
      log.add(
        "mask-shape",
        f"{number} masks, {reader.SAMPLES_FILE} says {num_masks}",
        **where,
      )
    for e in group:
      if e.frame < number:
        where["expression"] = f"frame {e.frame + 1}"
        mask = masks[..., e.frame] != 0
        if not mask.any():
          log.add("mask-empty", "no pixel", **where)
        code = truth.get(_image_id(e))
        if code and not np.array_equal(mask, run_lengths.decode(code)):
          log.add("mask-differs", f"not the mask of {_TRUTH_FILE}", **where)
  return out
