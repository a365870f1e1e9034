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
import functools
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import polygons as polygons_lib
from sgmg_jax.input_pipeline import problems, source
from sgmg_jax.input_pipeline.sets.refcoco import convert

IMAGE_FOLDER = "train2014"


@dataclasses.dataclass(frozen=True)
class Annotation:
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

  Attributes:
    file: that holds the sentences.
    images: folder of all images.
    videos: as listed, by name.
    files: image by video.
    annotations: by video and object id; None if malformed.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str,
    *,
    dataset: str,
    exclude_images: Collection[int] = (),
    content: Mapping[str, Any] | None = None,
    report: problems.Report = problems.stop,
  ):
    """Reads the sentences and annotations of the split.

    Args:
      exclude_images: COCO ids of images to leave out, such as those that a
        sister set is evaluated on. The other expressions keep their ids.
      content: of the split, as of `convert.examples`, where it is read
        already.

    Raises:
      UserError: an unknown set or split, a file that cannot be read, or as
        `report`.
    """
    convert.check(dataset, split)
    self.name = dataset
    self.split = split
    root = pathlib.Path(path)
    self.images = root / IMAGE_FOLDER
    if not self.images.is_dir():
      message = "no such folder, expected COCO's images"
      report("file-missing", message, file=self.images)
    stored = convert.examples_file(root, dataset, split)
    refs = convert.refs_file(root, dataset)
    self.file = stored if stored.exists() else refs
    if content is None and stored.exists():
      content = convert.read_examples(stored, report)
    elif content is None:
      content = convert.examples(
        convert.read_refs(refs, report),
        convert.read_instances(root, dataset, report),
        dataset,
        split,
        functools.partial(report, file=refs),
      )
    self.videos: dict[str, source.Video] = {}
    self.files: dict[str, pathlib.Path] = {}
    self.annotations: dict[str, dict[int, Annotation | None]] = {}
    self.expressions = self._parse(content, frozenset(exclude_images), report)

  def video(self, name: str) -> source.Video:
    self._find(name)
    if not self.files[name].is_file():
      raise UserError(
        f"{self.name} video {name!r}: no image {self.files[name]}"
      )
    return self.videos[name]

  def encoded_frame(self, video: str, index: int) -> bytes:
    self._find(video, index)
    path = self.files[video]
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
      for object_id, annotation in self.annotations[video].items()
      if annotation
    }

  def box(self, expression: source.Expression) -> np.ndarray | None:
    """float32[4], x1, y1, x2, y2 in pixels of the expression's instance.

    COCO's own box cut to the image: its far corner is where the instance
    ends, not the last pixel that it occupies. None if it is no instance.
    """
    height, width = self._find(expression.video).size
    (object_id,) = expression.object_ids
    annotation = self.annotations[expression.video][object_id]
    x, y, box_width, box_height = annotation.bbox
    box = np.array([x, y, x + box_width, y + box_height], np.float32)
    box = box.clip(0, np.array([width, height] * 2, np.float32))
    shown = annotation.polygons and box[0] < box[2] and box[1] < box[3]
    return box if shown else None

  def _find(self, video: str, index: int = 0) -> source.Video:
    if video not in self.videos:
      raise UserError(
        f"{self.name} video {video!r}: not in split {self.split!r}"
      )
    if index != 0:
      raise UserError(
        f"{self.name} video {video!r}: frame {index}, expected 0 of an image"
      )
    return self.videos[video]

  def _parse(
    self,
    content: Mapping[str, Any],
    excluded: frozenset[int],
    report: problems.Report,
  ) -> tuple[source.Expression, ...]:
    annotations = {a["image_id"]: a for a in content["annotations"]}
    expressions = []
    for image in content["images"]:
      if image["original_id"] in excluded:
        continue
      name = pathlib.PurePath(image["file_name"]).stem
      what = f"image {image['file_name']!r}, expression {image['id']}"
      where = dict(file=self.file, video=name, expression=str(image["id"]))
      if image["id"] not in annotations:
        report("annotation-missing", f"{what}: no annotation", **where)
        continue
      if not image["caption"].strip():
        problems.warn(report, f"{self.file}: {what} is empty")
      annotation = annotations[image["id"]]
      object_id = annotation["original_id"]
      objects = self.annotations.setdefault(name, {})
      if object_id not in objects:
        fault = _fault(annotation)
        if fault:
          report("mask-shape", f"{what}: {fault}", **where)
        objects[object_id] = None if fault else _annotation(annotation)
      if name not in self.videos:
        size = (image["height"], image["width"])
        self.videos[name] = source.Video(name, (name,), size)
        self.files[name] = self.images / image["file_name"]
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


def _fault(stored: Mapping[str, Any]) -> str:
  """What keeps an annotation from being drawn, "" if nothing does."""
  bbox = stored["bbox"]
  for polygon in () if stored["iscrowd"] else stored["segmentation"]:
    if not polygons_lib.is_polygon(polygon):
      return f"polygon {str(polygon)[:80]}, expected {polygons_lib.EXPECTED}"
  if len(bbox) != 4 or not all(isinstance(n, int | float) for n in bbox):
    return f"bbox {str(bbox)[:80]}, expected x, y, w, h"
  return ""


def _annotation(stored: Mapping[str, Any]) -> Annotation:
  polygons = () if stored["iscrowd"] else stored["segmentation"]
  return Annotation(
    tuple(np.asarray(polygon, np.float64) for polygon in polygons),
    tuple(stored["bbox"]),
  )
