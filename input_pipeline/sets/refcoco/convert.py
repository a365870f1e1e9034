"""REFER's pickles of RefCOCO, RefCOCO+ and RefCOCOg -> examples by sentence.

`<dataset>/refs(<partition>).p` lists which sentences describe which COCO
annotation, `<dataset>/instances.json` holds these annotations. The result is
a COCO file with one image and one annotation a sentence, as R-VOS toolkits
read it: `<dataset>/instances_<dataset>_<split>.json`.
"""

from __future__ import annotations

import os
import pathlib
import pickle
from typing import Any

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.layouts import json_file
from sgmg_jax.input_pipeline.sets.refcoco.about import ABOUT

PARTITIONS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
SPLITS = ABOUT.splits

_COCO_FIELDS = ("info", "licenses", "categories", "images", "annotations")
_IMAGE = {"id": int, "file_name": str, "height": int, "width": int}
_ANNOTATION = {
  "image_id": int,
  "segmentation": list | dict,
  "bbox": list,
  "iscrowd": int,
}


def check(dataset: str, split: str) -> None:
  """Raise UserError for an unknown data set or split."""
  if dataset not in SPLITS:
    raise UserError(f"data set {dataset!r}: expected one of {sorted(SPLITS)}")
  if split not in SPLITS[dataset]:
    raise UserError(
      f"{dataset} split {split!r}: expected one of {SPLITS[dataset]}"
    )


def refs_file(root: str | os.PathLike, dataset: str) -> pathlib.Path:
  """Path of REFER's pickle of a data set below the COCO folder."""
  return pathlib.Path(root) / dataset / f"refs({PARTITIONS[dataset]}).p"


def examples_file(
  root: str | os.PathLike, dataset: str, split: str
) -> pathlib.Path:
  """Path of the stored per-sentence examples of a split."""
  return pathlib.Path(root) / dataset / f"instances_{dataset}_{split}.json"


def examples(
  refs: list[dict],
  instances: dict,
  dataset: str,
  split: str,
  report: problems.Report = problems.stop,
) -> dict[str, Any]:
  """One image and one annotation for each sentence of a split, COCO style.

  Both count from 1 in the order of `refs` and of their sentences. An image
  has the sentence as `caption`, and both keep COCO's own id as `original_id`.

  Args:
    refs: as `read_refs` returns them.
    instances: a COCO file with the images and annotations that they name.
    report: is told of refs whose annotation or image `instances` lacks, or
      has of another image; they are left out.

  Raises:
    UserError: an unknown data set or split, or as `report`.
  """
  check(dataset, split)
  coco_images = {image["id"]: image for image in instances["images"]}
  coco_annotations = {a["id"]: a for a in instances["annotations"]}
  images, annotations = [], []
  for ref in refs:
    if not _in_split(ref["split"], split):
      continue
    image = coco_images.get(ref["image_id"])
    annotation = coco_annotations.get(ref["ann_id"])
    code, fault = "reference-unknown", ""
    if annotation is None:
      code, fault = "annotation-missing", f"lacks annotation {ref['ann_id']}"
    elif image is None:
      fault = f"lacks image {ref['image_id']}"
    elif annotation["image_id"] != ref["image_id"]:
      fault = (
        f"has annotation {ref['ann_id']} of image {annotation['image_id']}, "
        f"not {ref['image_id']}"
      )
    if fault:
      report(
        code,
        f"{dataset} ref {ref['ref_id']}, expression "
        f"{ref['sentences'][0]['sent']!r}: instances.json {fault}",
        expression=f"ref {ref['ref_id']}",
      )
      continue
    for sentence in ref["sentences"]:
      number = len(images) + 1
      images.append(
        {key: image[key] for key in ("file_name", "height", "width")}
        | {
          "original_id": image["id"],
          "id": number,
          "caption": sentence["sent"],
          "dataset_name": dataset,
        }
      )
      annotations.append(
        annotation
        | {"image_id": number, "id": number, "original_id": annotation["id"]}
      )
  copied = {key: instances[key] for key in ("info", "licenses", "categories")}
  return copied | {"images": images, "annotations": annotations}


def read_examples(
  path: str | os.PathLike, report: problems.Report = problems.stop
) -> dict[str, Any]:
  """The per-sentence examples of a split, as stored.

  Raises:
    UserError: missing, or not a COCO file with an image and an annotation a
      sentence; or as `report`.
  """
  return _read_coco(
    path,
    _IMAGE | {"original_id": int, "caption": str},
    _ANNOTATION | {"original_id": int},
    report,
  )


def read_instances(
  root: str | os.PathLike, dataset: str, report: problems.Report = problems.stop
) -> dict[str, Any]:
  """The COCO file with the annotations of a data set.

  Raises:
    UserError: missing, or not such a file; or as `report`.
  """
  return _read_coco(
    pathlib.Path(root) / dataset / "instances.json",
    _IMAGE,
    _ANNOTATION | {"id": int, "category_id": int, "area": int | float},
    report,
  )


def read_refs(
  path: str | os.PathLike, report: problems.Report = problems.stop
) -> list[dict]:
  """The refs of a REFER pickle: plain lists, dictionaries, strings, numbers.

  Nothing that the pickle names is imported or called: a pickle that asks for
  any class or function is refused.

  Args:
    report: is told of refs without the fields of one, which are left out.

  Raises:
    UserError: no such file, no pickle, one that asks for more than plain
      data, or as `report`.
  """
  try:
    with regular_file.open_binary(path) as file:
      refs = _PlainUnpickler(file, path).load()
  except UserError:
    raise
  except OSError as e:
    missing = isinstance(e, FileNotFoundError)
    raise problems.Problem(
      "file-missing" if missing else "pickle-corrupt",
      f"cannot be read ({e.strerror})",
      file=path,
    ) from e
  except Exception as e:
    # A damaged pickle raises nearly anything.
    raise problems.Problem(
      "pickle-corrupt", f"not a readable pickle ({e})", file=path
    ) from e
  if not isinstance(refs, list):
    raise problems.Problem(
      "pickle-corrupt",
      f"a {type(refs).__name__}, expected a list of refs",
      file=path,
    )
  usable = []
  for number, ref in enumerate(refs):
    try:
      _check_ref(ref)
    except (KeyError, TypeError) as e:
      report(
        "pickle-corrupt",
        f"no {e}, expected image_id, ann_id, ref_id, split and sentences",
        file=path,
        place=f"ref {number}",
      )
    else:
      usable.append(ref)
  return usable


class _PlainUnpickler(pickle.Unpickler):
  """Unpickler of Python's own lists, dictionaries, strings, numbers only."""

  def __init__(self, file, path: str | os.PathLike):
    # Strings of Python 2 are bytes; latin1 maps any of them.
    super().__init__(file, encoding="latin1")
    self._path = path

  def find_class(self, module: str, name: str):
    raise problems.Problem(
      "pickle-unsafe",
      f"asks for {module}.{name}, expected plain data; it was not executed",
      file=self._path,
    )


def _read_coco(path, image, annotation, report) -> dict[str, Any]:
  """Content of a COCO file; `image`, `annotation`: types of their fields."""
  expected = f"a COCO file with {', '.join(_COCO_FIELDS)}"
  content = json_file.read(path, expected, report=report)
  missing = [field for field in _COCO_FIELDS if field not in content]
  if missing:
    message = f"no {', '.join(missing)}, expected {expected}"
    raise problems.Problem("malformed", message, file=path)
  for key, fields in (("images", image), ("annotations", annotation)):
    if not json_file.are_records(content[key], fields):
      raise problems.Problem(
        "malformed",
        f"{key}: expected {', '.join(fields)} in each, of their types",
        file=path,
      )
  return content


def _check_ref(ref: dict) -> None:
  for field, kind in (
    ("ref_id", int),
    ("ann_id", int),
    ("image_id", int),
    ("split", str),
    ("sentences", list),
  ):
    if not isinstance(ref[field], kind):
      raise TypeError(field)
  if not ref["sentences"]:
    raise TypeError("sentences")
  for sentence in ref["sentences"]:
    if not isinstance(sentence["sent"], str):
      raise TypeError("sent")


def _in_split(stored: str, split: str) -> bool:
  """Whether REFER counts a ref with this `split` field to the split."""
  if split in ("train", "val"):
    return stored == split
  # testA and testB by the letter, so that "testAB" would be in both.
  return (split if split == "test" else split[-1]) in stored
