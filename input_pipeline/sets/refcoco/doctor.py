"""RefCOCO, RefCOCO+ and RefCOCOg: COCO images and REFER pickles.

```
train2014/COCO_train2014_<12 digits>.jpg
<set>/instances.json
<set>/refs(unc).p                              refs(umd).p of refcocog
<set>/instances_<set>_<split>.json             instead of these two
```

The splits of the three sets are named "<set> <split>" here.
"""

from __future__ import annotations

import functools
import pathlib
import pickletools
from collections import defaultdict
from typing import Any, Final

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import polygons as polygons_lib
from sgmg_jax.input_pipeline.doctor import files, frames, plan
from sgmg_jax.input_pipeline.sets.refcoco import convert, reader

_CHUNK: Final = 32
_IMAGE: Final = {"id": int, "file_name": str, "height": int, "width": int}
_ANNOTATION: Final = {
  "id": int,
  "image_id": int,
  "category_id": int,
  "segmentation": list | dict,
  "bbox": list,
  "area": int | float,
  "iscrowd": int,
}
# What builds objects of classes, or calls functions.
_CALLS: Final = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "REDUCE"}


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the sentences and annotations of every set that is there."""
  result = plan.Plan("refcoco", root)
  log = result.findings
  images = root / reader.IMAGE_FOLDER
  if not images.is_dir():
    log.add("file-missing", "no such folder", file=images)
  train, found = set(), {}
  for dataset in convert.SPLITS:
    if not (root / dataset).is_dir():
      log.add("file-optional", "no such set", file=root / dataset)
      continue
    for split, content in _read_set(root, dataset, result.counts, log).items():
      found[dataset, split] = content
      if split == "train":
        train.add(f"{dataset} {split}")
  result.train = frozenset(train)
  by_file = defaultdict(dict)
  for (dataset, split), content in found.items():
    _add_split(result, dataset, split, content, by_file)
  if images.is_dir():
    items = list(by_file.items())
    for first in range(0, len(items), _CHUNK):
      chunk = items[first : first + _CHUNK]
      result.tasks.append(
        functools.partial(_check_images, chunk, images, fast=fast)
      )
  return result


def _read_set(root, dataset, counts, log) -> dict[str, dict[str, Any]]:
  """Per-sentence examples of each split, from the pickle or as stored."""
  refs_file = convert.refs_file(root, dataset)
  stored = {
    split: convert.examples_file(root, dataset, split)
    for split in convert.SPLITS[dataset]
  }
  if not refs_file.exists() and any(f.exists() for f in stored.values()):
    contents = {split: _read_coco(file, log) for split, file in stored.items()}
    return {
      split: content
      for split, content in contents.items()
      if content is not None and _check_stored(content, stored[split], log)
    }
  refs = _read_refs(refs_file, log)
  path = root / dataset / "instances.json"
  instances = _read_coco(path, log)
  if refs is None or instances is None:
    return {}
  refs = _check_refs(refs, instances, refs_file, log)
  contents = {}
  for split, file in stored.items():
    contents[split] = convert.examples(refs, instances, dataset, split)
    counts[f"{dataset} {split}"] = {
      "refs": sum(ref["split"] == split for ref in refs)
    }
    if file.exists():
      _compare(_read_coco(file, log), contents[split], file, log)
  return contents


def _read_refs(path, log) -> list[dict] | None:
  if not path.exists():
    log.add("file-missing", "no such file", file=path)
    return None
  try:
    return convert.read_refs(path)
  except UserError as e:
    called = _calls(path)
    code = "pickle-unsafe" if called else "pickle-corrupt"
    message = str(e).removeprefix(str(path)).lstrip(": ")
    log.add(code, message, file=path)
    return None


def _calls(path: pathlib.Path) -> bool:
  """Whether a pickle asks for more than plain data; nothing is executed."""
  try:
    with regular_file.open_binary(path) as file:
      return any(op.name in _CALLS for op, _, _ in pickletools.genops(file))
  except (ValueError, OSError):
    return False


def _read_coco(path, log) -> dict[str, Any] | None:
  content = files.read_json(path, log)
  if content is None:
    return None
  missing = [
    key
    for key in ("info", "licenses", "categories", "images", "annotations")
    if key not in content
  ]
  if missing:
    log.add("malformed", f"no {', '.join(missing)}", file=path)
    return None
  for key, fields in (("images", _IMAGE), ("annotations", _ANNOTATION)):
    if not files.are_records(content[key], fields):
      log.add(
        "malformed",
        f"{key}: expected {', '.join(fields)} in each, of their types",
        file=path,
      )
      return None
  return content


def _check_refs(refs, instances, path, log) -> list[dict]:
  """The refs whose image and annotation are there, and belong together."""
  images = {image["id"] for image in instances["images"]}
  annotations = {a["id"]: a for a in instances["annotations"]}
  usable = []
  for ref in refs:
    where = dict(file=path, expression=f"ref {ref['ref_id']}")
    annotation = annotations.get(ref["ann_id"])
    if annotation is None:
      log.add(
        "annotation-missing",
        f"ann_id {ref['ann_id']} is not in instances.json",
        **where,
      )
    elif ref["image_id"] not in images:
      log.add(
        "reference-unknown",
        f"image_id {ref['image_id']} is not in instances.json",
        **where,
      )
    elif annotation["image_id"] != ref["image_id"]:
      log.add(
        "reference-unknown",
        f"ann_id {ref['ann_id']} is of image {annotation['image_id']}, not "
        f"{ref['image_id']}",
        **where,
      )
    else:
      usable.append(ref)
  return usable


def _check_stored(content, path, log) -> bool:
  """Whether a converted file has one image and annotation a sentence."""
  images, annotations = content["images"], content["annotations"]
  if (
    not files.are_records(images, {"caption": str, "original_id": int})
    or not files.are_records(annotations, {"original_id": int})
    or [i["id"] for i in images] != [a["image_id"] for a in annotations]
  ):
    log.add(
      "malformed",
      "expected an image with caption and original_id, and its annotation, for "
      "each sentence",
      file=path,
    )
    return False
  return True


def _compare(stored, made, path, log) -> None:
  """A converted file holds what the pickle says."""
  if stored is None or not _check_stored(stored, path, log):
    return
  for key, fields in (
    ("images", ("caption", "original_id", "file_name")),
    ("annotations", ("original_id", "image_id")),
  ):
    ours, theirs = (
      [tuple(entry[f] for f in fields) for entry in content[key]]
      for content in (made, stored)
    )
    if ours != theirs:
      log.add(
        "conversion-differs",
        f"its {len(theirs)} {key} are not the {len(ours)} of the pickle",
        file=path,
      )
      return


def _add_split(result, dataset, split, content, by_file) -> None:
  name, log = f"{dataset} {split}", result.findings
  path = convert.examples_file(result.root, dataset, split)
  if not path.exists():
    path = convert.refs_file(result.root, dataset)
  pairs = list(zip(content["images"], content["annotations"]))
  result.counts.setdefault(name, {}).update(
    images=len({image["original_id"] for image, _ in pairs}),
    sentences=len(pairs),
  )
  result.images[name] = frozenset(image["file_name"] for image, _ in pairs)
  severity = "warning" if split == "train" else "error"
  checked = set()
  for image, annotation in pairs:
    video = pathlib.PurePath(image["file_name"]).stem
    object_id = annotation["original_id"]
    result.sentences.append(
      plan.Sentence(
        name, video, str(image["id"]), image["caption"], (object_id,), str(path)
      )
    )
    about = by_file[image["file_name"]]
    about.setdefault("size", (image["height"], image["width"]))
    splits = about.setdefault("splits", set())
    if name not in splits:
      splits.add(name)
      result.examples.append(_example(result.root, name, image, annotation))
    if object_id not in checked:
      checked.add(object_id)
      where = dict(file=path, video=video, expression=f"ann_id {object_id}")
      if _check_annotation(annotation, image, log, severity, where):
        about.setdefault("polygons", {})[object_id] = annotation["segmentation"]


def _example(root, split, image, annotation) -> plan.Example:
  return plan.Example(
    split,
    pathlib.PurePath(image["file_name"]).stem,
    str(image["id"]),
    image["caption"],
    functools.partial(
      _load,
      root / reader.IMAGE_FOLDER / image["file_name"],
      annotation["segmentation"],
    ),
  )


def _check_annotation(annotation, image, log, severity, where) -> bool:
  """Whether its polygons can be drawn."""
  polygons, box = annotation["segmentation"], annotation["bbox"]
  if annotation["iscrowd"] or not polygons or isinstance(polygons, dict):
    log.add(
      "annotation-crowd",
      "a crowd or without polygons: no instance",
      severity=severity,
      **where,
    )
    return False
  if not all(map(polygons_lib.is_polygon, polygons)):
    log.add(
      "mask-shape", f"a polygon, expected {polygons_lib.EXPECTED}", **where
    )
    return False
  if not _are_numbers(box) or len(box) != 4:
    log.add("mask-shape", f"bbox {box}, expected x, y, w, h", **where)
  else:
    x, y, width, height = box
    # Rounding in the published files.
    far = (x + width) - image["width"], (y + height) - image["height"]
    if min(x, y) < -1 or max(far) > 1 or min(width, height) <= 0:
      log.add(
        "annotation-box",
        f"bbox {box} in an image {image['width']} wide and {image['height']} "
        "high",
        **where,
      )
  return True


def _are_numbers(value) -> bool:
  return isinstance(value, list) and all(
    isinstance(number, int | float) for number in value
  )


def _check_images(chunk, folder, *, fast: bool) -> plan.Outcome:
  out = plan.Outcome()
  for file_name, about in chunk:
    path, video = folder / file_name, pathlib.PurePath(file_name).stem
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
    if image.size != about["size"]:
      out.findings.add(
        "frame-size",
        f"{image.size}, expected {about['size']} (height, width) as listed",
        **where,
      )
    if image.digest:
      out.frames += [
        plan.Frame(split, video, str(path), image.digest)
        for split in sorted(about["splits"])
      ]
      for object_id, polygons in about.get("polygons", {}).items():
        if not polygons_lib.draw(polygons, image.size).any():
          out.findings.add(
            "mask-empty",
            "its polygons surround no pixel",
            expression=f"ann_id {object_id}",
            **where,
          )
  return out


def _load(path, polygons):
  frame = files.read_rgb(path)
  if not polygons or isinstance(polygons, dict):
    return frame, None
  if not all(map(polygons_lib.is_polygon, polygons)):
    return frame, None
  return frame, polygons_lib.draw(polygons, frame.shape[:2])
