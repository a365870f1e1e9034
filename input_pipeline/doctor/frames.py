"""Checks of a video that is a folder of images, and of its PNG masks."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Sequence

from sgmg_jax.input_pipeline.doctor import files, findings, plan
from sgmg_jax.input_pipeline.layouts import frame_folders

Size = tuple[int, int]


def check_list(names, log: findings.Findings, *, file, video: str) -> list[str]:
  """The frames that a video lists, as far as they are usable.

  Args:
    names: whatever the file holds under "frames".
  """
  if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
    log.add(
      "malformed", "expected a list of frame names", file=file, video=video
    )
    return []
  if not names:
    log.add("frames-empty", "lists no frames", file=file, video=video)
  if names != sorted(set(names)):
    twice = [name for name, n in Counter(names).items() if n > 1]
    message = f"{files.some(twice)} listed twice" if twice else "not in order"
    log.add(
      "frames-order",
      f"frames: {message}",
      file=file,
      video=video,
      severity="error" if twice else "warning",
    )
  return list(dict.fromkeys(names))


def images_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Images in a folder by name without suffix, as readers look for them."""
  return files.files_in(folder, frame_folders.SUFFIXES)


def check_frames(
  folder: pathlib.Path,
  names: Sequence[str],
  out: plan.Outcome,
  *,
  split: str,
  video: str,
  fast: bool,
) -> dict[str, Size]:
  """Reads the listed images of a video; (height, width) of those readable.

  The first readable frame sets the size that all others are held to.
  """
  log = out.findings
  there = images_in(folder)
  sizes = {}
  for name in names:
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
  """Whether an image is plain RGB (or grey of 8 bits) and upright."""
  if image.mode not in ("RGB", "L"):
    log.add("frame-mode", f"mode {image.mode}, expected RGB", **where)
  if image.rotated:
    log.add(
      "frame-rotated",
      "has an EXIF orientation: readers turn it upright, its mask as stored "
      "must fit that",
      **where,
    )


def check_masks(
  folder: pathlib.Path,
  names: Sequence[str],
  sizes: dict[str, Size],
  log: findings.Findings,
  *,
  video: str,
  fast: bool,
) -> dict[int, int] | None:
  """Reads the PNG label maps of the listed frames.

  Args:
    sizes: of the frames, from `check_frames`.

  Returns:
    Pixels of each object id above 0 in the whole video; None if that is not
    known, because of `fast` or since a mask could not be read.
  """
  pixels, known = Counter(), not fast
  there = files.files_in(folder, (".png",))
  for name in names:
    path = there.get(name, folder / f"{name}.png")
    if name not in there:
      log.add("mask-missing", "frame without mask", file=path, video=video)
      known = False
      continue
    try:
      image = files.read_image(path, fast=fast, values=True)
    except files.Unreadable as e:
      log.add("mask-corrupt", str(e), file=path, video=video)
      known = False
      continue
    if image.mode not in ("P", "L"):
      log.add(
        "mask-mode",
        f"mode {image.mode}, expected palette (P) or grey (L) of object ids",
        file=path,
        video=video,
      )
      known = False
    if name in sizes and image.size != sizes[name]:
      log.add(
        "mask-size",
        f"{_pixels(image.size)}, expected {_pixels(sizes[name])} as the frame",
        file=path,
        video=video,
      )
    pixels.update(image.values or {})
  del pixels[0]
  return dict(pixels) if known else None


def check_objects(
  described: dict[int, list[str]],
  pixels: dict[int, int],
  log: findings.Findings,
  *,
  file,
  video: str,
  severity: findings.Severity = "error",
  ignored: frozenset[int] = frozenset(),
) -> None:
  """Compares described objects with those that the masks show.

  Args:
    described: expression ids by object id.
    pixels: from `check_masks`.
    severity: of a described object without pixels.
    ignored: ids that are no objects.
  """
  shown = sorted(set(pixels) - ignored)
  for object_id in sorted(set(described) - set(shown)):
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


def _pixels(size: Size) -> str:
  return f"{size[0]}x{size[1]} (height x width)"
