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
from sgmg_jax.input_pipeline.layouts import json_file
from sgmg_jax.input_pipeline.sets.refcoco.about import ABOUT

PARTITIONS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
SPLITS = ABOUT.splits

_COCO_FIELDS = ("info", "licenses", "categories", "images", "annotations")


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
  refs: list[dict], instances: dict, dataset: str, split: str
) -> dict[str, Any]:
  """One image and one annotation for each sentence of a split, COCO style.

  Both count from 1 in the order of `refs` and of their sentences. An image
  has the sentence as `caption`, and both keep COCO's own id as `original_id`.

  Args:
    refs: as `read_refs` returns them.
    instances: a COCO file with the images and annotations that they name.
    dataset: "refcoco", "refcoco+" or "refcocog".
    split: one of `SPLITS[dataset]`.

  Raises:
    UserError: an unknown data set or split, or an annotation or image that
      `instances` lacks.
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
    if image is None or annotation is None:
      raise UserError(
        f"{dataset} ref {ref['ref_id']}, expression "
        f"{ref['sentences'][0]['sent']!r}: instances.json lacks image "
        f"{ref['image_id']} or annotation {ref['ann_id']}"
      )
    for sentence in ref["sentences"]:
      number = len(images) + 1
      images.append(
        {
          "file_name": image["file_name"],
          "height": image["height"],
          "width": image["width"],
          "original_id": image["id"],
          "id": number,
          "caption": sentence["sent"],
          "dataset_name": dataset,
        }
      )
      annotations.append(
        {
          "segmentation": annotation["segmentation"],
          "area": annotation["area"],
          "iscrowd": annotation["iscrowd"],
          "bbox": annotation["bbox"],
          "image_id": number,
          "category_id": annotation["category_id"],
          "id": number,
          "original_id": annotation["id"],
        }
      )
  copied = {key: instances[key] for key in ("info", "licenses", "categories")}
  return copied | {"images": images, "annotations": annotations}


def read_examples(
  root: str | os.PathLike, dataset: str, split: str
) -> dict[str, Any]:
  """The per-sentence examples of a split, as stored.

  Raises:
    UserError: missing, or not a COCO file.
  """
  return _read_coco(examples_file(root, dataset, split))


def read_instances(root: str | os.PathLike, dataset: str) -> dict[str, Any]:
  """The COCO file with the annotations of a data set.

  Raises:
    UserError: missing, or not such a file.
  """
  return _read_coco(pathlib.Path(root) / dataset / "instances.json")


def read_refs(path: str | os.PathLike) -> list[dict]:
  """The refs of a REFER pickle: plain lists, dictionaries, strings, numbers.

  Nothing that the pickle names is imported or called: a pickle that asks for
  any class or function is refused.

  Raises:
    UserError: no such file, no pickle, one that asks for more than plain
      data, or a ref without the fields of one.
  """
  try:
    with regular_file.open_binary(path) as file:
      refs = _PlainUnpickler(file, path).load()
  except UserError:
    raise
  except OSError as e:
    raise UserError(f"{path}: cannot be read ({e.strerror})") from e
  except Exception as e:
    # A damaged pickle raises nearly anything.
    raise UserError(f"{path}: not a readable pickle ({e})") from e
  if not isinstance(refs, list):
    raise UserError(f"{path}: a {type(refs).__name__}, expected a list of refs")
  for number, ref in enumerate(refs):
    try:
      _check_ref(ref)
    except (KeyError, TypeError) as e:
      raise UserError(
        f"{path} ref {number}: no {e}, expected image_id, ann_id, ref_id, "
        "split and sentences"
      ) from e
  return refs


class _PlainUnpickler(pickle.Unpickler):
  """Unpickler of Python's own lists, dictionaries, strings, numbers only."""

  def __init__(self, file, path: str | os.PathLike):
    # Strings of Python 2 are bytes; latin1 maps any of them.
    super().__init__(file, encoding="latin1")
    self._path = path

  def find_class(self, module: str, name: str):
    raise UserError(
      f"{self._path}: asks for {module}.{name}, expected plain data; it was "
      "not executed"
    )


def _read_coco(path: pathlib.Path) -> dict[str, Any]:
  expected = f"a COCO file with {', '.join(_COCO_FIELDS)}"
  content = json_file.read(path, expected)
  missing = [field for field in _COCO_FIELDS if field not in content]
  if missing:
    raise UserError(f"{path}: no {', '.join(missing)}, expected {expected}")
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
