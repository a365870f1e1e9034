"""Checks of videos that are folders of images, and of their label maps."""

from __future__ import annotations

import functools
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from sgmg_jax.input_pipeline.doctor import files, findings, plan
from sgmg_jax.input_pipeline.layouts import frame_folders

Size = tuple[int, int]


def add_split(
  result: plan.Plan,
  source: frame_folders.FrameFolders,
  file: pathlib.Path,
  check_truth: Callable[..., None],
  *,
  fast: bool,
) -> None:
  """Add the checks of one split to the plan.

  Args:
    file: that holds the sentences.
    check_truth: of one video; called with its name, ids of its sentences by
      object id, the sizes of its frames by name, and the findings.
    fast: read no more than headers.
  """
  log = result.findings
  described = plan.described(source)
  result.counts[source.split] = {
    "videos": len(source.frames),
    "expressions": len(source.expressions),
    "objects": sum(map(len, described.values())),
  }
  there = set(files.names_in(source.images)) & source.frames.keys()
  result.add_sentences(source, source.expressions, file)
  shown = {video for video in there if source.frames[video]}
  result.add_examples(
    source, (e for e in source.expressions if e.video in shown)
  )
  for video, names in source.frames.items():
    _check_order(names, log, file=file, video=video)
    if video not in described:
      log.add("expression-missing", "no sentence", file=file, video=video)
    if video in there:
      check = functools.partial(check_truth, video, described.get(video, {}))
      task = functools.partial(_check_video, source, video, check, fast=fast)
      result.tasks.append(task)
    elif source.images.is_dir():
      log.add(
        "video-missing",
        f"no frames, but listed in {file}",
        file=source.images / video,
        video=video,
      )


def _check_order(names: Sequence[str], log: findings.Findings, **where) -> None:
  twice = [name for name, n in Counter(names).items() if n > 1]
  if twice:
    twice = files.some(twice)
    log.add("frames-order", f"frames: {twice} listed twice", **where)
  elif list(names) != sorted(names):
    message = "frames: not in order"
    log.add("frames-order", message, severity="warning", **where)


def _check_video(source, video, check_truth, *, fast: bool) -> plan.Outcome:
  out = plan.Outcome()
  sizes = check_frames(
    source.images / video,
    source.frames[video],
    out,
    split=source.split,
    video=video,
    fast=fast,
  )
  check_truth(sizes, out.findings)
  return out


def check_frames(
  folder: pathlib.Path,
  names: Sequence[str],
  out: plan.Outcome,
  *,
  split: str,
  video: str,
  fast: bool,
) -> dict[str, Size]:
  """Read the listed images of a video.

  The first readable frame sets the size that all others are held to.

  Returns:
    (height, width) of those readable, by name.
  """
  log = out.findings
  there = frame_folders.files_in(folder, frame_folders.SUFFIXES)
  sizes = {}
  for name in dict.fromkeys(names):
    path = there.get(name)
    if path is None:
      log.add(
        "frame-missing",
        "listed, not there",
        file=folder / f"{name}{frame_folders.SUFFIXES[0]}",
        video=video,
      )
      continue
    try:
      image = files.read_image(path, fast=fast, values=False)
    except files.Unreadable as e:
      log.add("frame-corrupt", str(e), file=path, video=video)
      continue
    first = next(iter(sizes.values()), image.size)
    sizes[name] = image.size
    if image.size != first:
      log.add(
        "frame-size",
        f"{_pixels(image.size)}, expected {_pixels(first)} as before",
        file=path,
        video=video,
      )
    check_mode(image, log, file=path, video=video)
    if image.digest:
      out.frames.append(plan.Frame(split, video, str(path), image.digest))
  extra = sorted(set(there) - set(names))
  if extra:
    log.add(
      "frame-extra",
      f"{len(extra)} images not listed: {files.some(extra)}",
      file=folder,
      video=video,
    )
  return sizes


def check_mode(image: files.Image, log: findings.Findings, **where) -> None:
  """Check that an image is plain RGB (or grey of 8 bits) and upright."""
  if image.mode not in ("RGB", "L"):
    log.add("frame-mode", f"mode {image.mode}, expected RGB", **where)
  if image.rotated:
    log.add(
      "frame-rotated",
      "has an EXIF orientation: readers turn it upright, its mask as stored "
      "must fit that",
      **where,
    )


def check_labels(
  source: frame_folders.LabelFolders,
  video: str,
  described: Mapping[int, Sequence[str]],
  sizes: Mapping[str, Size],
  log: findings.Findings,
  *,
  fast: bool,
  file: pathlib.Path,
  severity: findings.Severity = "error",
) -> None:
  """Label maps of a video, and whether they show what sentences describe.

  Args:
    described: ids of its sentences by object id.
    sizes: of its frames by name.
    file: that holds the sentences.
    severity: of a described object without pixels.
  """
  if source.annotations is None or not source.annotations.is_dir():
    return
  folder = source.annotations / video
  if not folder.is_dir():
    log.add("mask-missing", "no such folder", file=folder, video=video)
    return
  names = dict.fromkeys(source.frames[video])
  pixels = _check_masks(folder, names, sizes, log, video=video, fast=fast)
  if pixels is None:
    return
  shown = sorted(pixels - {source.void})
  for object_id in sorted(described.keys() - shown):
    log.add(
      "object-without-pixels",
      f"object {object_id} is in no mask; they show {files.some(shown) or 0}",
      file=file,
      video=video,
      expression=files.some(described[object_id]),
      severity=severity,
    )
  silent = [i for i in shown if i not in described]
  if silent and described:
    log.add(
      "object-undescribed",
      f"no sentence for object {files.some(silent)}",
      file=file,
      video=video,
    )


def _check_masks(
  folder: pathlib.Path,
  names: Iterable[str],
  sizes: Mapping[str, Size],
  log: findings.Findings,
  *,
  video: str,
  fast: bool,
) -> set[int] | None:
  """Object ids above 0 in the listed frames' label maps.

  None if they are not known, because of `fast` or since a map could not be
  read.
  """
  shown, known = set(), not fast
  there = frame_folders.files_in(folder, (".png",))
  for name in names:
    path = there.get(name, folder / f"{name}.png")
    where = dict(file=path, video=video)
    if name not in there:
      log.add("mask-missing", "frame without mask", **where)
      known = False
      continue
    try:
      image = files.read_image(path, fast=fast, values=True)
    except files.Unreadable as e:
      log.add("mask-corrupt", str(e), **where)
      known = False
      continue
    if image.mode not in ("P", "L"):
      log.add(
        "mask-mode",
        f"mode {image.mode}, expected palette (P) or grey (L) of object ids",
        **where,
      )
      known = False
    if name in sizes and image.size != sizes[name]:
      log.add(
        "mask-size",
        f"{_pixels(image.size)}, expected {_pixels(sizes[name])} as the frame",
        **where,
      )
    shown.update(image.values or ())
  return shown - {0} if known else None


def _pixels(size: Size) -> str:
  return f"{size[0]}x{size[1]} (height x width)"
