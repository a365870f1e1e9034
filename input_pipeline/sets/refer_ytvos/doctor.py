"""Ref-YouTube-VOS, and own data in its layout, see `reader`.

Where masks are, <split>/meta.json has the categories. The published valid file
holds the videos of test, too: those are left out of valid, and their frames
need not be there.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Final

from sgmg_jax.input_pipeline.doctor import files, findings, frames, plan
from sgmg_jax.input_pipeline.sets.own import reader as own
from sgmg_jax.input_pipeline.sets.refer_ytvos import reader
from sgmg_jax.input_pipeline.sets.refer_ytvos.about import ABOUT

# Of the published valid file: valid and test together.
_VALID_AND_TEST: Final = sum(
  ABOUT.published[split]["videos"] for split in ("valid", "test")
)


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Read the small files of every split."""
  result = plan.Plan("refer_ytvos", root)
  log = result.findings
  sources = {}
  names = files.names_in(root / "meta_expressions")
  for split in names:
    with log.caught():
      sources[split] = _open(root, split, log)
  for split in ("train", "valid"):
    if split not in names and (root / split / "JPEGImages").is_dir():
      log.add(
        "file-missing",
        f"{split}/JPEGImages has no expressions",
        file=reader.expression_file(root, split),
      )
  for split, source in sources.items():
    if split == "valid":
      _leave_out_test(source, sources.get("test"), root, log)
    labels = root / split / "Annotations"
    # Masks of valid by sentence, which are scored against, lie deeper.
    labelled = next(labels.glob("*/*.png"), None) is not None
    if source.annotations is None and labelled:
      source.annotations = labels
    needed = split in result.train or labelled
    described = plan.described(source)
    check_meta(root / split / "meta.json", described, log, needed=needed)
    _check_extra(source, log)
    file = reader.expression_file(root, split)
    check = functools.partial(frames.check_labels, source, fast=fast, file=file)
    frames.add_split(result, source, file, check, fast=fast)
  return result


def _open(root, split, log) -> own.OwnData:
  optional = root / split / "JPEGImages" if split == "test" else None

  def report(code, message, *, file, **where):
    if file == optional:
      log.add("file-optional", "frames of test, not needed", file=file)
    else:
      log.add(code, message, file=file, **where)

  return own.OwnData(root, split, report=report)


def _leave_out_test(source, test, root, log) -> None:
  """Leave the videos of valid that are not test's."""
  if test is not None:
    keep = [video for video in source.frames if video not in test.frames]
  elif len(source.frames) == _VALID_AND_TEST:
    there = set(files.names_in(source.images))
    keep = [video for video in source.frames if video in there]
    log.add(
      "file-optional",
      f"absent: the {len(keep)} videos with frames count as valid",
      file=reader.expression_file(root, "test"),
    )
  else:
    return
  source.frames = {video: source.frames[video] for video in keep}
  source.expressions = [
    e for e in source.expressions if e.video in source.frames
  ]


def check_meta(
  path: pathlib.Path,
  described: Mapping[str, Mapping[int, Sequence[str]]],
  log: findings.Findings,
  *,
  needed: bool,
) -> None:
  """Check that every described object has an entry with a category."""
  if not path.exists() and not needed:
    return
  content = files.read_json(path, log)
  if content is None:
    return
  known = content.get("videos")
  if not isinstance(known, dict):
    log.add("malformed", 'expected an object "videos"', file=path)
    return
  for video, ids_by_object in described.items():
    entry = known.get(video)
    objects = entry.get("objects") if isinstance(entry, dict) else None
    for object_id, ids in ids_by_object.items():
      about = objects.get(str(object_id)) if isinstance(objects, dict) else None
      if not isinstance(about, dict) or not about.get("category"):
        log.add(
          "object-unknown",
          f"object {object_id} or its category is not there; label 0 is used",
          file=path,
          video=video,
          expression=files.some(ids),
        )


def _check_extra(source, log) -> None:
  extra = sorted(set(files.names_in(source.images)) - source.frames.keys())
  if extra:
    log.add(
      "video-extra",
      f"{len(extra)} folders without expressions: {files.some(extra)}",
      file=source.images,
    )
