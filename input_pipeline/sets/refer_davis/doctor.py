"""Ref-DAVIS17, as downloaded, converted, or partly each, see `reader`.

The sentences describe the objects of DAVIS 2017, the masks are the later
unsupervised ones: that they differ is known, and left as it is.
DAVIS/davis_semantics.json has the categories.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping

from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.doctor import files, findings, frames, plan
from sgmg_jax.input_pipeline.sets.refer_davis import convert, reader
from sgmg_jax.input_pipeline.sets.refer_ytvos import doctor as refer_ytvos


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Read the small files of the raw and the converted tree."""
  result = plan.Plan("refer_davis", root)
  log, texts = result.findings, root / convert.TEXT_FOLDER
  annotations = {}
  if texts.is_dir() or not (root / "meta_expressions").is_dir():
    annotations = convert.read_texts(root, log.add)
    _check_texts(annotations, log, texts)
  listed = []
  for split in convert.VIDEO_LISTS:
    found = findings.Findings()
    with found.caught():
      source = reader.ReferDAVIS(root, split, report=found.add)
      _add_split(result, source, root, fast=fast)
    # Without its own list a converted split can be read.
    with contextlib.suppress(problems.Problem):
      listed += convert.video_names(root, split)
    # Both splits read the same texts.
    log += [finding for finding in found if finding not in log]
  if (root / "DAVIS").is_dir():
    _check_semantics(root / "DAVIS" / "davis_semantics.json", listed, log)
    described = set().union(*annotations.values())
    for video in sorted(described.difference(listed)):
      log.add("reference-unknown", "in no image set", file=texts, video=video)
  return result


def _add_split(
  result: plan.Plan, source: reader.ReferDAVIS, root: pathlib.Path, *, fast
) -> None:
  log, file = result.findings, reader.expression_file(root, source.split)
  if file.suffix:
    for video in source.frames:
      entries = [e for e in source.expressions if e.video == video]
      _check_annotators(entries, log, file=file, video=video)
    meta = root / source.split / "meta.json"
    refer_ytvos.check_meta(meta, plan.described(source), log, needed=False)
  else:
    _check_gaps(source, log)
  check = functools.partial(
    frames.check_labels, source, fast=fast, file=file, severity="warning"
  )
  frames.add_split(result, source, file, check, fast=fast)


def _check_texts(
  annotations: Mapping[str, convert.Annotation],
  log: findings.Findings,
  folder: pathlib.Path,
) -> None:
  """Check that each file describes the same objects, once.

  Readers pair the files line by line: an object that one file lacks loses the
  sentences of the others, or gets another object's.
  """
  for video in dict.fromkeys(
    v for lines in annotations.values() for v in lines
  ):
    counts = {
      name: Counter(i for i, _ in annotations.get(name, {}).get(video, ()))
      for name in convert.TEXT_FILES
    }
    for object_id in sorted(set().union(*counts.values())):
      for name, count in counts.items():
        if count[object_id] != 1:
          log.add(
            "annotators",
            f"{count[object_id]} sentences for object {object_id}, expected 1",
            file=folder / name,
            video=video,
          )


def _check_gaps(source: reader.ReferDAVIS, log: findings.Findings) -> None:
  for video, names in source.frames.items():
    if list(names) != [f"{i:05d}" for i in range(len(names))]:
      log.add(
        "frame-missing",
        "frames are not 00000, 00001, … without a gap",
        file=source.images / video,
        video=video,
      )


def _check_semantics(
  path: pathlib.Path, videos: Iterable[str], log: findings.Findings
) -> None:
  content = files.read_json(path, log)
  for video in videos if content is not None else ():
    if not isinstance(content.get(video), dict):
      log.add("object-unknown", "no categories", file=path, video=video)


def _check_annotators(entries, log: findings.Findings, **where) -> None:
  """Check for four sentences an object in turn, numbered from 0."""
  number = len(entries)
  if number % reader.ANNOTATORS:
    return  # Which the reader reports.
  if [e.id for e in entries] != list(map(str, range(number))):
    log.add("annotators", 'expected ids "0", "1", … in order', **where)
  for first in range(0, number, reader.ANNOTATORS):
    group = entries[first : first + reader.ANNOTATORS]
    if len({e.object_ids for e in group}) > 1:
      log.add(
        "annotators",
        "the four are not of one object",
        expression=files.some(e.id for e in group),
        **where,
      )
  objects = Counter(e.object_ids for e in entries)
  for object_ids, count in objects.items():
    if count != reader.ANNOTATORS:
      log.add(
        "annotators",
        f"{count} expressions of object {files.some(object_ids)}",
        **where,
      )
