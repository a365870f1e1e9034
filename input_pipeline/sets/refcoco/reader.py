"""RefCOCO, RefCOCO+ and RefCOCOg as they lie on disk.

```
train2014/COCO_train2014_<12 digits>.jpg          images of all three
<dataset>/refs(unc).p                             refs(umd).p of refcocog
<dataset>/instances.json
<dataset>/instances_<dataset>_<split>.json        instead of these two
```
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import polygons as polygons_lib
from sgmg_jax.input_pipeline import source
from sgmg_jax.input_pipeline.sets.refcoco import convert

IMAGE_FOLDER = "train2014"


@dataclasses.dataclass(frozen=True)
class _Annotation:
  """A COCO annotation.

  Attributes:
    polygons: float64[2P] each, x and y in turn; none if it is no instance: a
      crowd, or without polygons.
    bbox: x, y, width, height in pixels.
  """

  polygons: tuple[np.ndarray, ...]
  bbox: tuple[float, float, float, float]


class RefCOCO(source.Source):
  """A split of one of the three sets; every image is a video of one frame.

  A video is named by the image file without suffix and its objects by the
  COCO ids of the annotations that the split's sentences describe. The id of
  an expression is the running number of the sentence in the split, from 1.

  An annotation that is a crowd or has no polygons is no instance: its mask is
  empty and it has no box.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str,
    *,
    dataset: str,
    exclude_images: Collection[int] = (),
  ):
    """Reads the sentences and annotations of the split.

    Args:
      path: the folder that holds train2014/ and a folder of each data set.
      split: "train", "val", "testA" or "testB"; of refcocog "train", "val" or
        "test".
      dataset: "refcoco", "refcoco+" or "refcocog".
      exclude_images: COCO ids of images to leave out, such as those that a
        sister set is evaluated on. The other expressions keep their ids.

    Raises:
      UserError: an unknown set or split; a file is missing or malformed.
    """
    convert.check(dataset, split)
    self.name = dataset
    self.split = split
    root = pathlib.Path(path)
    self._images = root / IMAGE_FOLDER
    if not self._images.is_dir():
      raise UserError(f"{self._images}: no such folder, expected COCO's images")
    file = convert.examples_file(root, dataset, split)
    if file.exists():
      content = convert.read_examples(root, dataset, split)
    else:
      file = convert.refs_file(root, dataset)
      content = convert.examples(
        convert.read_refs(file),
        convert.read_instances(root, dataset),
        dataset,
        split,
      )
    self._videos: dict[str, source.Video] = {}
    self._files: dict[str, pathlib.Path] = {}
    self._annotations: dict[str, dict[int, _Annotation]] = {}
    try:
      self.expressions = self._parse(content, frozenset(exclude_images), file)
    except (KeyError, TypeError, AttributeError) as e:
      raise UserError(
        f"{file}: {type(e).__name__} {e}, expected a COCO file with one image "
        "and annotation a sentence"
      ) from e

  def video(self, name: str) -> source.Video:
    self._find(name)
    if not self._files[name].is_file():
      raise UserError(
        f"{self.name} video {name!r}: no image {self._files[name]}"
      )
    return self._videos[name]

  def encoded_frame(self, video: str, index: int) -> bytes:
    self._find(video, index)
    path = self._files[video]
    try:
      return regular_file.read_bytes(path)
    except OSError as e:
      raise UserError(
        f"{self.name} video {video!r}: cannot read {path} ({e.strerror})"
      ) from e

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    size = self._find(video, index).size
    return {
      object_id: polygons_lib.draw(annotation.polygons, size)
      for object_id, annotation in self._annotations[video].items()
    }

  def box(self, expression: source.Expression) -> np.ndarray | None:
    """float32[4], x1, y1, x2, y2 in pixels of the expression's instance.

    COCO's own box cut to the image: its far corner is where the instance
    ends, not the last pixel that it occupies. None if it is no instance.
    """
    height, width = self._find(expression.video).size
    (object_id,) = expression.object_ids
    annotation = self._annotations[expression.video][object_id]
    x, y, box_width, box_height = annotation.bbox
    box = np.array([x, y, x + box_width, y + box_height], np.float32)
    box = box.clip(0, np.array([width, height] * 2, np.float32))
    shown = annotation.polygons and box[0] < box[2] and box[1] < box[3]
    return box if shown else None

  def _find(self, video: str, index: int = 0) -> source.Video:
    if video not in self._videos:
      raise UserError(
        f"{self.name} video {video!r}: not in split {self.split!r}"
      )
    if index != 0:
      raise UserError(
        f"{self.name} video {video!r}: frame {index}, expected 0 of an image"
      )
    return self._videos[video]

  def _parse(
    self, content: Mapping[str, Any], excluded: frozenset, file: pathlib.Path
  ) -> tuple[source.Expression, ...]:
    annotations = {a["image_id"]: a for a in content["annotations"]}
    expressions = []
    for image in content["images"]:
      if image["original_id"] in excluded:
        continue
      name = pathlib.PurePath(image["file_name"]).stem
      what = f"{file}: image {image['file_name']!r}, expression {image['id']}"
      if image["id"] not in annotations:
        raise UserError(f"{what}: no annotation")
      if not image["caption"].strip():
        logging.warning("%s is empty", what)
      annotation = annotations[image["id"]]
      object_id = annotation["original_id"]
      objects = self._annotations.setdefault(name, {})
      if object_id not in objects:
        objects[object_id] = _annotation(annotation, what)
      if name not in self._videos:
        size = (image["height"], image["width"])
        self._videos[name] = source.Video(name, (name,), size)
        self._files[name] = self._images / image["file_name"]
      expressions.append(
        source.Expression(
          video=name,
          id=str(image["id"]),
          text=image["caption"],
          object_ids=(object_id,),
          frame=0,
        )
      )
    return tuple(expressions)


def _annotation(stored: Mapping[str, Any], what: str) -> _Annotation:
  polygons = () if stored["iscrowd"] else stored["segmentation"]
  for polygon in polygons:
    if not polygons_lib.is_polygon(polygon):
      raise UserError(
        f"{what}: polygon {str(polygon)[:80]}, expected {polygons_lib.EXPECTED}"
      )
  if len(stored["bbox"]) != 4:
    raise UserError(f"{what}: bbox {stored['bbox']}, expected x, y, w, h")
  return _Annotation(
    tuple(np.asarray(polygon, np.float64) for polygon in polygons),
    tuple(stored["bbox"]),
  )
