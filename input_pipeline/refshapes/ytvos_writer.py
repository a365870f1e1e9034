"""Writes RefShapes clips in the on-disk layout of Ref-YouTube-VOS.

```
<split>/JPEGImages/<video>/<frame>.jpg
<split>/Annotations/<video>/<frame>.png      palette PNG of object ids, 0 = none
<split>/meta.json
meta_expressions/<split>/meta_expressions.json
```

As there, frame names count source frames in steps of five, object ids start
from 1, and the validation folder is called "valid". Unlike there, every split
has masks and its expressions name their objects.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from sgmg_jax import errors
from sgmg_jax.files import atomic
from sgmg_jax.input_pipeline import palette
from sgmg_jax.input_pipeline.refshapes import dataset

FOLDERS = {"train": "train", "val": "valid", "test": "test"}
FRAME_STEP = 5


def write_ytvos(
  directory: str | os.PathLike,
  split: str,
  indices: Iterable[int],
  *,
  num_frames: int = 8,
  height: int = 160,
  width: int = 160,
) -> pathlib.Path:
  """Writes clips `indices` of a split, returns the split's folder.

  The expression file appears last: who finds it finds the whole split.

  Raises:
    UserError: an unknown split, or the split is already there.
  """
  if split not in FOLDERS:
    raise errors.UserError(
      f"refshapes split {split!r}: expected one of {sorted(FOLDERS)}"
    )
  root = pathlib.Path(directory)
  target = root / FOLDERS[split]
  sentences = root / "meta_expressions" / FOLDERS[split]
  for path in (target, sentences):
    if path.exists():
      raise errors.UserError(f"{path}: exists, expected a new folder")
  objects, expressions = {}, {}
  with atomic.output(sentences) as said, atomic.output(target) as shown:
    for index in indices:
      clip = dataset.generate_clip(
        split,
        index,
        num_frames=num_frames,
        height=height,
        width=width,
      )
      names = [f"{FRAME_STEP * t:05d}" for t in range(num_frames)]
      _write_frames(shown, clip, names)
      objects[clip.name] = {"objects": _objects(clip, names)}
      expressions[clip.name] = _expressions(clip, names)
    _write_json(shown / "meta.json", {"videos": objects})
    _write_json(said / "meta_expressions.json", {"videos": expressions})
  return target


def label_map(masks: np.ndarray) -> np.ndarray:
  """uint8[T, H, W] of object ids from 1 for disjoint bool[O, T, H, W]."""
  ids = np.arange(1, len(masks) + 1, dtype=np.uint8)
  return (masks * ids[:, None, None, None]).max(0)


def _write_frames(folder: pathlib.Path, clip: dataset.Clip, names) -> None:
  images = folder / "JPEGImages" / clip.name
  annotations = folder / "Annotations" / clip.name
  images.mkdir(parents=True)
  annotations.mkdir(parents=True)
  colours = palette.pascal_voc()
  for name, frame, labels in zip(names, clip.frames, label_map(clip.masks)):
    Image.fromarray(frame).save(
      images / f"{name}.jpg", quality=95, subsampling=0
    )
    annotation = Image.fromarray(labels).convert("P")
    annotation.putpalette(colours)
    annotation.save(annotations / f"{name}.png")


def _objects(clip: dataset.Clip, names) -> dict:
  shown = clip.masks.any((2, 3))
  return {
    str(i + 1): {
      "category": body.shape,
      "frames": [name for name, seen in zip(names, shown[i]) if seen],
    }
    for i, body in enumerate(clip.scene.bodies)
    if shown[i].any()
  }


def _expressions(clip: dataset.Clip, names) -> dict:
  return {
    "expressions": {
      str(k): {"exp": e.text, "obj_id": str(e.object_index + 1)}
      for k, e in enumerate(clip.expressions)
    },
    "frames": names,
  }


def _write_json(path: pathlib.Path, content: dict) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(
    json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8"
  )
