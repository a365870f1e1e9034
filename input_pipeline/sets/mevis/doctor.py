"""MeViS: sentences about several objects, masks as codes, see `reader`."""

from __future__ import annotations

import functools
import pathlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline.doctor import files, findings, frames, plan
from sgmg_jax.input_pipeline.layouts import json_file
from sgmg_jax.input_pipeline.sets.mevis import reader


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Read the sentences of every split, and find its masks."""
  result = plan.Plan("mevis", root)
  log = result.findings
  for split in reader.SPLITS:
    if (root / split).is_dir():
      with log.caught():
        source = reader.MeViS(root, split, report=log.add)
        _add_split(result, source, fast=fast)
    else:
      log.add("file-optional", "no such split", file=root / split)
  return result


def _add_split(result: plan.Plan, source: reader.MeViS, *, fast: bool) -> None:
  log, masks, known = result.findings, source.masks, ()
  if masks is not None and masks.path.is_file():
    with log.caught():
      known = dict.fromkeys(masks.annotations())
      _check_ids(source, known, log)
  _check_lists(source, log)
  check = functools.partial(_check_codes, source, known, fast=fast)
  frames.add_split(result, source, source.file, check, fast=fast)


def _check_ids(
  source: reader.MeViS, known: Collection[int], log: findings.Findings
) -> None:
  """Check that every annotation is there, and of one video."""
  file = source.masks.path
  owners = defaultdict(set)
  for video, described in plan.described(source).items():
    for annotation, ids in described.items():
      owners[annotation].add(video)
      if annotation not in known:
        log.add(
          "annotation-missing",
          f"anno_id {annotation} is not there",
          file=file,
          video=video,
          expression=files.some(ids),
        )
  for annotation, names in owners.items():
    if len(names) > 1:
      log.add(
        "object-id-malformed",
        f"anno_id {annotation} is used in several videos: "
        f"{files.some(sorted(names))}",
        file=source.file,
      )
  unused = [annotation for annotation in known if annotation not in owners]
  if unused:
    log.add(
      "object-undescribed",
      f"no sentence for {len(unused)} anno_ids: {files.some(unused)}",
      file=file,
    )
  for annotation in unused:
    with log.caught():
      source.masks.annotation(annotation)


def _check_lists(source: reader.MeViS, log: findings.Findings) -> None:
  """Check that anno_id names objects, as many as obj_id does."""
  content, _ = json_file.parse(regular_file.read_bytes(source.file))
  for e in source.expressions:
    entry = content["videos"][e.video]["expressions"][e.id]
    objects, annotations = entry.get("obj_id"), entry.get("anno_id")
    where = dict(file=source.file, video=e.video, expression=e.id)
    if annotations == []:
      log.add("expression-target", "anno_id is an empty list", **where)
    if isinstance(objects, list) and isinstance(annotations, list):
      if len(objects) != len(annotations):
        log.add(
          "object-id-malformed",
          f"obj_id {objects} and anno_id {annotations}: expected as many of "
          "both",
          **where,
        )


def _check_codes(
  source: reader.MeViS,
  known: Collection[int],
  video: str,
  described: Mapping[int, Sequence[str]],
  sizes: Mapping[str, frames.Size],
  log: findings.Findings,
  *,
  fast: bool,
) -> None:
  """Check for a code of every frame, of its size, and some pixels in all."""
  names = source.frames[video]
  for annotation in (i for i in described if i in known):
    what = f"anno_id {annotation}"
    where = dict(file=source.masks.path, video=video)
    where["expression"] = files.some(described[annotation])
    with log.caught():
      codes = source.masks.annotation(annotation)
      if not isinstance(codes, list) or len(codes) != len(names):
        number = len(codes) if isinstance(codes, list) else type(codes).__name__
        log.add(
          "mask-shape",
          f"{what}: {number} masks for {len(names)} frames",
          **where,
        )
        continue
      shown = False
      for index, (code, name) in enumerate(zip(codes, names)):
        if code is not None:
          has = files.has_pixels(
            code,
            sizes.get(name),
            log,
            fast=fast,
            what=f"{what} frame {index}",
            **where,
          )
          shown |= has is not False
      if not shown:
        log.add(
          "object-without-pixels",
          f"{what} has no pixel in any frame",
          **where,
        )
