"""JHMDB-Sentences: PNG frames, one MATLAB file of masks a video.

```
Rename_Images/<action>/<video>/<frame from 00001>.png
puppet_mask/<action>/<video>/puppet_mask.mat            part_mask [H, W, T]
jhmdb_annotation.txt
jhmdb_sentences_samples_metadata.json                   the frames to score
jhmdb_sentences_gt_annotations_in_coco_format.json      made if missing
```
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections import defaultdict
from typing import Any, Final

import numpy as np
import scipy.io

from sgmg_jax.input_pipeline import run_lengths
from sgmg_jax.input_pipeline.doctor import (
  files,
  findings,
  frames,
  ground_truth_file,
  plan,
)
from sgmg_jax.input_pipeline.sets.jhmdb import reader

_SPLIT: Final = "test"
_TRUTH_FILE: Final = "jhmdb_sentences_gt_annotations_in_coco_format.json"
_PER_VIDEO: Final = 3


@dataclasses.dataclass(frozen=True)
class _Sample:
  """An entry of the list; `frame` counts from 1."""

  video: str
  image: pathlib.Path
  masks: pathlib.Path
  num_masks: int
  text: str

  @property
  def frame(self) -> int:
    return int(self.image.stem) if self.image.stem.isdecimal() else 0

  @property
  def image_id(self) -> str:
    return f"v_{self.video}_f_{self.frame}"


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the lists, and checks them against each other."""
  result = plan.Plan("jhmdb", root)
  log = result.findings
  listed = root / reader.SAMPLES_FILE
  samples = _read_samples(listed, root, log)
  rows = _read_rows(root / "jhmdb_annotation.txt", log)
  by_video = defaultdict(list)
  for sample in samples:
    by_video[sample.video].append(sample)
  if rows is not None:
    _check_rows(rows, by_video, log, root / "jhmdb_annotation.txt")
  result.counts[_SPLIT] = {
    "videos": len(by_video),
    "rows": sum(map(len, (rows or {}).values())),
    "samples": len(samples),
    "actions": len({sample.image.parent.parent for sample in samples}),
  }
  truth = ground_truth_file.read(root / _TRUTH_FILE, log, fast=fast)
  if truth is not None and samples:
    ground_truth_file.check_ids(
      truth, {s.image_id for s in samples}, log, root / _TRUTH_FILE
    )
  for video, group in by_video.items():
    _check_group(video, group, log, listed)
    # Three frames of a video share their sentence.
    result.sentences.append(
      plan.Sentence(_SPLIT, video, "0", group[0].text, (1,), str(listed))
    )
    result.tasks.append(
      functools.partial(_check_video, group, truth or {}, listed, fast=fast)
    )
    result.examples += [
      plan.Example(
        _SPLIT, video, str(s.frame), s.text, functools.partial(_load, s)
      )
      for s in group
    ]
  return result


def _read_samples(path, root, log) -> list[_Sample]:
  samples = []
  for number, entry in enumerate(files.read_json(path, log, list) or ()):
    match entry:
      case [str(video), str(image), str(masks), int(num_masks), str(text)]:
        sample = _Sample(
          video, _below(root, image), _below(root, masks), num_masks, text
        )
        if 1 <= sample.frame <= num_masks:
          samples.append(sample)
        else:
          log.add(
            "frame-index",
            f"{image}: expected one of its {num_masks} frames with masks",
            file=path,
            video=video,
            expression=f"entry {number}",
          )
      case _:
        log.add(
          "malformed",
          f"entry {number}: {str(entry)[:80]}, expected [video, frame file, "
          "mask file, number of masks, sentence]",
          file=path,
        )
  return samples


def _below(root: pathlib.Path, stored: str) -> pathlib.Path:
  """Paths in the list start with the data set's folder, under any name."""
  return root.joinpath(*pathlib.PurePosixPath(stored).parts[1:])


def _read_rows(path, log) -> dict[str, list[str]] | None:
  """Sentences by video; None if there is no such file, which readers need not.

  Its first row is a header.
  """
  if not path.exists():
    log.add("file-missing", "no such file", file=path, severity="warning")
    return None
  rows = defaultdict(list)
  for number, row in enumerate(files.read_csv(path, log), 1):
    if len(row) != 2:
      log.add(
        "malformed", f"line {number}: {len(row)} columns, not 2", file=path
      )
    elif number > 1:
      rows[row[0]].append(row[1])
  return rows


def _check_rows(rows, by_video, log, path) -> None:
  """Every evaluated video has its sentence there."""
  for video, group in by_video.items():
    texts = {" ".join(text.split()) for text in rows.get(video, ())}
    missing = [s.text for s in group if " ".join(s.text.split()) not in texts]
    if missing:
      log.add(
        "reference-unknown",
        f"has not the sentence {missing[0]!r} of {reader.SAMPLES_FILE}",
        file=path,
        video=video,
        severity="warning",
      )


def _check_group(video, group, log, path) -> None:
  where = dict(file=path, video=video)
  chosen = [sample.frame for sample in group]
  if len(set(chosen)) != _PER_VIDEO or len(chosen) != _PER_VIDEO:
    log.add(
      "frame-index",
      f"frames {files.some(chosen)}, expected {_PER_VIDEO} distinct ones",
      severity="warning",
      **where,
    )
  first = group[0]
  if any(
    (s.image.parent, s.masks, s.num_masks)
    != (first.image.parent, first.masks, first.num_masks)
    for s in group
  ):
    log.add("malformed", "its entries name different files", **where)


def _check_video(group, truth, listed, *, fast: bool) -> plan.Outcome:
  out = plan.Outcome()
  log, first = out.findings, group[0]
  where = dict(file=first.masks, video=first.video)
  if not first.image.parent.is_dir():
    log.add(
      "video-missing",
      f"listed in {listed.name}",
      file=first.image.parent,
      video=first.video,
    )
    return out
  sizes = frames.check_frames(
    first.image.parent,
    [f"{number:05d}" for number in range(1, first.num_masks + 1)],
    out,
    split=_SPLIT,
    video=first.video,
    fast=fast,
  )
  # Frames after the last mask are never read.
  kept = [f for f in out.findings if f.code != "frame-extra"]
  out.findings[:] = kept
  masks = _read_masks(first, log, fast=fast)
  if masks is None:
    return out
  size = next(iter(sizes.values()), masks.shape[:2])
  if masks.shape[:2] != size:
    log.add("mask-size", f"{masks.shape[:2]}, expected {size}", **where)
  if masks.shape[2] != first.num_masks:
    log.add(
      "mask-shape",
      f"{masks.shape[2]} masks, {listed.name} says {first.num_masks}",
      **where,
    )
  for sample in group:
    if sample.frame <= masks.shape[2]:
      _check_chosen(sample, masks[..., sample.frame - 1], truth, log)
  return out


def _check_chosen(sample, mask, truth, log) -> None:
  where = dict(file=sample.masks, video=sample.video)
  where["expression"] = f"frame {sample.frame}"
  if not mask.any():
    log.add("mask-empty", "no pixel", **where)
  code = truth.get(sample.image_id)
  if code and not np.array_equal(mask != 0, run_lengths.decode(code)):
    log.add("mask-differs", f"not the mask of {_TRUTH_FILE}", **where)


def _read_masks(sample, log, *, fast: bool) -> np.ndarray | None:
  """[H, W, T] as stored; None, and a finding, if they are not such."""
  where = dict(file=sample.masks, video=sample.video)
  if not sample.masks.is_file():
    log.add("mask-missing", "no such file", **where)
    return None
  try:
    content: dict[str, Any] = scipy.io.loadmat(
      sample.masks, variable_names=["part_mask"]
    )
  # A damaged file raises nearly anything.
  except Exception as e:
    log.add("mask-corrupt", f"not a MATLAB file ({e})", **where)
    return None
  masks = content.get("part_mask")
  if masks is None or masks.ndim not in (2, 3) or masks.dtype.kind not in "bui":
    what = "none" if masks is None else f"{masks.dtype}{list(masks.shape)}"
    log.add(
      "mask-shape",
      f"part_mask is {what}, expected uint8[height, width, frames]",
      **where,
    )
    return None
  # MATLAB drops a last axis of length one.
  masks = np.atleast_3d(masks)
  if not fast and masks.max(initial=0) > 1:
    log.add("mask-values", f"up to {masks.max()}, expected 0 and 1", **where)
  return masks


def _load(sample: _Sample):
  log = findings.Findings()
  masks = _read_masks(sample, log, fast=True)
  mask = None if masks is None else masks[..., sample.frame - 1] != 0
  return files.read_rgb(sample.image), mask
