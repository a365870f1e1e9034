"""Predictions of annotated frames: a JSON file of COCO results.

```
[{"image_id": ..., "segmentation": {"size": [H, W], "counts": "..."},
  "score": 0.9, "bbox": [x1, y1, x2, y2]}, ...]
```

As many for each image as there are queries, or the best alone. `bbox` is for
RefCOCO; its corners are in pixels, as R-VOS toolkits write them, and not
COCO's corner and size.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Hashable, Mapping
from typing import Any, Final

from pycocotools import mask as coco_mask

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.files import tree as tree_lib
from sgmg_jax.input_pipeline import run_lengths
from sgmg_jax.input_pipeline.layouts import json_file

EXPECTED = (
  'a JSON list of COCO results, {"image_id": ..., "segmentation": RLE, '
  '"score": ...}'
)
# Of a coordinate or score: float32 holds them.
_MAX_NUMBER: Final = 2**31
# Of COCO's results; all objects are of one category.
Detection = dict[str, Any]


def read(
  path: str | os.PathLike, sizes: Mapping[Hashable, tuple[int, int]]
) -> tuple[list[Detection], faults_lib.Faults]:
  """Read and check predictions.

  Args:
    sizes: (height, width) of every image, by its id.

  Returns:
    The predictions of these images that are well-formed, in the file's order,
    and all faults: images without predictions, others, masks of another
    size, entries of another form.

  Raises:
    UserError: no such file, not a list, or no prediction of these images.
  """
  where, content = _content(pathlib.Path(path))
  faults = faults_lib.Faults()
  found: list[Detection] = []
  others = []
  for number, entry in enumerate(content):
    try:
      image_id, detection = _detection(entry, sizes)
    except run_lengths.Malformed as e:
      kind = "size" if e.kind == "size" else "encoding"
      faults.add(kind, f"entry {number}, image {entry['image_id']!r}: {e}")
      continue
    except ValueError as e:
      faults.add("encoding", f"entry {number}: {e}")
      continue
    if detection is None:
      others.append(image_id)
    else:
      found.append(detection)
  if content and len(others) == len(content):
    raise UserError(
      f"{where}: none of its predictions is asked for: expected images such as "
      f"{next(iter(sizes))!r}, found {others[0]!r}"
    )
  # An entry with a fault is no missing one.
  there = {entry["image_id"] for entry in content if _has_id(entry)}
  for image_id in sizes:
    if image_id not in there:
      faults.add("missing", f"image {image_id!r}")
  for image_id in dict.fromkeys(others):
    faults.add("surplus", f"image {image_id!r}")
  return found, faults


def _detection(
  entry: Any, sizes: Mapping[Hashable, tuple[int, int]]
) -> tuple[Hashable, Detection | None]:
  """Image and checked prediction; None for that of another image."""
  if not _has_id(entry):
    raise ValueError(f"{str(entry)[:80]}, expected {EXPECTED}")
  image_id = entry["image_id"]
  if image_id not in sizes:
    return image_id, None
  if not _is_number(entry.get("score")):
    raise ValueError(
      f"image {image_id!r} has the score {entry.get('score')!r}, expected a "
      "number"
    )
  code = entry.get("segmentation")
  run_lengths.runs(code, sizes[image_id])
  if isinstance(code["counts"], list):
    code = coco_mask.frPyObjects(code, *sizes[image_id])
  detection = {
    "image_id": image_id,
    "category_id": 1,
    "segmentation": {"size": list(code["size"]), "counts": code["counts"]},
    "score": float(entry["score"]),
  }
  box = entry.get("bbox")
  if box is not None:
    is_list = isinstance(box, list) and len(box) == 4
    if not is_list or not all(map(_is_number, box)):
      raise ValueError(f"image {image_id!r} has the bbox {str(box)[:80]}")
    detection["bbox"] = [float(x) for x in box]
  return image_id, detection


def _has_id(entry: Any) -> bool:
  return isinstance(entry, dict) and type(entry.get("image_id")) in (str, int)


def _is_number(value: Any) -> bool:
  # NaN fails every comparison.
  return type(value) in (int, float) and abs(value) <= _MAX_NUMBER


def _content(path: pathlib.Path) -> tuple[str, list]:
  """Name of the JSON file in messages, and its list."""
  if path.suffix == ".json":
    return str(path), json_file.read(path, EXPECTED, kind=list)
  tree = tree_lib.open_tree(path)
  names = [name for name in tree.names if name.endswith(".json")]
  if len(names) != 1:
    held = ", ".join((names or list(tree.names))[:3]) or "nothing"
    raise UserError(
      f"{path}: expected one JSON file of predictions; it holds {held}"
    )
  where = f"{tree.path}/{names[0]}"
  try:
    content, _ = json_file.parse(tree.read(names[0]))
  except (ValueError, RecursionError) as e:
    raise UserError(f"{where}: not JSON ({e}), expected {EXPECTED}") from e
  if not isinstance(content, list):
    raise UserError(
      f"{where}: holds a {type(content).__name__}, expected {EXPECTED}"
    )
  return where, content
