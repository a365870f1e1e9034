"""Ground truth in COCO format, which A2D and JHMDB are scored against."""

from __future__ import annotations

import pathlib
from typing import Any, Final

from sgmg_jax.input_pipeline.doctor import files, findings
from sgmg_jax.input_pipeline.layouts import json_file

_IMAGE: Final = {"id": str, "height": int, "width": int}
_ANNOTATION: Final = {"image_id": str, "segmentation": dict}


def read(
  path: pathlib.Path, log: findings.Findings, *, fast: bool
) -> dict[str, dict[str, Any]] | None:
  """Run-length code by image id; None if there is no usable file.

  Every image must have one annotation, of its size.
  """
  if not path.exists():
    log.add("file-optional", "absent, made when needed", file=path)
    return None
  content = files.read_json(path, log)
  if content is None:
    return None
  images, annotations = content.get("images"), content.get("annotations")
  if not json_file.are_records(images, _IMAGE) or not json_file.are_records(
    annotations, _ANNOTATION
  ):
    log.add("malformed", "expected COCO images and annotations", file=path)
    return None
  sizes = {i["id"]: (i["height"], i["width"]) for i in images}
  codes = {}
  for annotation in annotations:
    image, code = annotation["image_id"], annotation["segmentation"]
    where = dict(file=path, expression=str(image))
    if image not in sizes:
      log.add("reference-unknown", "an annotation of no image", **where)
      continue
    if image in codes:
      log.add(
        "annotation-missing",
        "more than one annotation",
        severity="warning",
        **where,
      )
    shown = files.has_pixels(code, sizes[image], log, fast=fast, **where)
    if shown is not None:
      codes[image] = code
    if shown is False:
      log.add("mask-empty", "no pixel", **where)
  for image in sizes.keys() - {a["image_id"] for a in annotations}:
    log.add(
      "annotation-missing", "no annotation", file=path, expression=str(image)
    )
  return codes


def check_ids(
  codes: dict[str, Any],
  expected: set[str],
  log: findings.Findings,
  path: pathlib.Path,
) -> None:
  """The file has the images that are evaluated, and no others."""
  missing = sorted(expected - codes.keys())
  if missing:
    log.add(
      "annotation-missing",
      f"{len(missing)} evaluated images are not there: {files.some(missing)}",
      file=path,
    )
  unknown = sorted(codes.keys() - expected)
  if unknown:
    log.add(
      "reference-unknown",
      f"{len(unknown)} images are not evaluated: {files.some(unknown)}",
      file=path,
    )
