"""RefCOCO, RefCOCO+ and RefCOCOg: COCO images and REFER pickles.

The splits of the three sets are named "<set> <split>" here.
"""

from __future__ import annotations

import functools
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sgmg_jax.input_pipeline import polygons as polygons_lib
from sgmg_jax.input_pipeline.doctor import files, findings, frames, plan
from sgmg_jax.input_pipeline.layouts import json_file
from sgmg_jax.input_pipeline.sets.refcoco import convert, reader

_CHUNK: Final = 32


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the sentences and annotations of every set that is there."""
  result = plan.Plan("refcoco", root, train=frozenset())
  log = result.findings
  by_file = defaultdict(list)
  for dataset in convert.SPLITS:
    if not (root / dataset).is_dir():
      log.add("file-optional", "no such set", file=root / dataset)
      continue
    for split, content in _read_set(root, dataset, result.counts, log):
      with log.caught():
        source = reader.RefCOCO(
          root, split, dataset=dataset, content=content, report=log.add
        )
        _add_split(result, source)
        for video, file in source.files.items():
          by_file[file].append((source, video))
  # Every split reports it if there is no folder of images.
  log[:] = dict.fromkeys(log)
  if (root / reader.IMAGE_FOLDER).is_dir():
    items = list(by_file.items())
    result.tasks += [
      functools.partial(_check_images, items[i : i + _CHUNK], fast=fast)
      for i in range(0, len(items), _CHUNK)
    ]
  return result


def _read_set(
  root, dataset, counts, log
) -> Iterator[tuple[str, dict[str, Any]]]:
  """(split, its examples), from the pickle or as stored."""
  refs_file = convert.refs_file(root, dataset)
  stored = {
    split: convert.examples_file(root, dataset, split)
    for split in convert.SPLITS[dataset]
  }
  if not refs_file.exists() and any(f.exists() for f in stored.values()):
    for split, file in stored.items():
      content = _read_stored(file, log)
      if content is not None:
        yield split, content
    return
  refs = instances = None
  with log.caught():
    refs = convert.read_refs(refs_file, log.add)
  with log.caught():
    instances = convert.read_instances(root, dataset, log.add)
  if refs is None or instances is None:
    return
  report = functools.partial(log.add, file=refs_file)
  for split, file in stored.items():
    content = convert.examples(refs, instances, dataset, split, report)
    number = sum(ref["split"] == split for ref in refs)
    counts[f"{dataset} {split}"] = {"refs": number}
    if file.exists():
      _compare(_read_stored(file, log), content, file, log)
    yield split, content


def _read_stored(path, log) -> dict[str, Any] | None:
  """A converted file; None, and a finding, without all of COCO's fields and
  an annotation to each image in turn."""
  with log.caught():
    content = convert.read_examples(path, log.add)
    images, annotations = content["images"], content["annotations"]
    fields = {"id": int, "category_id": int, "area": int | float}
    if json_file.are_records(annotations, fields):
      if [i["id"] for i in images] == [a["image_id"] for a in annotations]:
        return content
    log.add(
      "malformed",
      "expected an image with caption and original_id, and its annotation "
      f"with {', '.join(fields)}, for each sentence",
      file=path,
    )
  return None


def _compare(stored, made, path, log) -> None:
  """A converted file holds what the pickle says."""
  for key, fields in (
    ("images", ("caption", "original_id", "file_name")),
    ("annotations", ("original_id", "image_id")),
  ):
    ours, theirs = (
      [tuple(entry[f] for f in fields) for entry in content[key]]
      for content in (made, stored or made)
    )
    if ours != theirs:
      log.add(
        "conversion-differs",
        f"its {len(theirs)} {key} are not the {len(ours)} of the pickle",
        file=path,
      )
      return


def _add_split(result: plan.Plan, source: reader.RefCOCO) -> None:
  # Sister sets have splits of the same names.
  name, train = f"{source.name} {source.split}", source.split == "train"
  source.split = name
  if train:
    result.train |= {name}
  result.counts.setdefault(name, {}).update(
    images=len(source.files), sentences=len(source.expressions)
  )
  result.images[name] = frozenset(f.name for f in source.files.values())
  result.add_sentences(source, source.expressions, source.file)
  shown = {}
  for e in source.expressions:
    shown.setdefault(e.video, e)
  result.add_examples(source, shown.values())
  for video, objects in source.annotations.items():
    for object_id, annotation in objects.items():
      if annotation:
        where = dict(file=source.file, video=video)
        where["expression"] = f"ann_id {object_id}"
        severity = "warning" if train else "error"
        size = source.videos[video].size
        _check_annotation(annotation, size, result.findings, severity, **where)


def _check_annotation(
  annotation: reader.Annotation,
  size: tuple[int, int],
  log: findings.Findings,
  severity: findings.Severity,
  **where,
) -> None:
  """It is an instance, and its box lies in the image."""
  if not annotation.polygons:
    log.add(
      "annotation-crowd",
      "a crowd or without polygons: no instance",
      severity=severity,
      **where,
    )
    return
  (x, y, width, height), (image_height, image_width) = annotation.bbox, size
  # Rounding in the published files.
  far = x + width - image_width, y + height - image_height
  if min(x, y) < -1 or max(far) > 1 or min(width, height) <= 0:
    log.add(
      "annotation-box",
      f"bbox {list(annotation.bbox)} in an image {image_width} wide and "
      f"{image_height} high",
      **where,
    )


def _check_images(
  chunk: Sequence[tuple[pathlib.Path, Sequence[tuple[reader.RefCOCO, str]]]],
  *,
  fast: bool,
) -> plan.Outcome:
  """Images, each with the splits that have it."""
  out = plan.Outcome()
  for path, splits in chunk:
    source, video = splits[0]
    where = dict(file=path, video=video)
    if not path.is_file():
      out.findings.add("frame-missing", "described, not there", **where)
      continue
    try:
      image = files.read_image(path, fast=fast, values=False)
    except files.Unreadable as e:
      out.findings.add("frame-corrupt", str(e), **where)
      continue
    frames.check_mode(image, out.findings, **where)
    size = source.videos[video].size
    if image.size != size:
      out.findings.add(
        "frame-size",
        f"{image.size}, expected {size} (height, width) as listed",
        **where,
      )
    if image.digest:
      names = sorted(source.split for source, _ in splits)
      out.frames += [
        plan.Frame(name, video, str(path), image.digest) for name in names
      ]
      _check_masks(splits, out.findings, **where)
  return out


def _check_masks(splits, log, **where) -> None:
  """Every instance has a pixel, in whichever split it is described."""
  objects = {}
  for source, video in splits:
    objects |= source.annotations[video]
  size = source.videos[video].size
  for object_id, annotation in objects.items():
    if annotation and annotation.polygons:
      if not polygons_lib.draw(annotation.polygons, size).any():
        log.add(
          "mask-empty",
          "its polygons surround no pixel",
          expression=f"ann_id {object_id}",
          **where,
        )
