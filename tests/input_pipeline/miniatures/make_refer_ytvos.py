"""Ref-YouTube-VOS in miniature, as the competition distributes it."""

import json
import pathlib

import numpy as np
from PIL import Image

from sgmg_jax.input_pipeline import palette
from sgmg_jax.input_pipeline.refshapes import dataset, ytvos_writer


def make_refer_ytvos(
  folder, *, seed=0, train=3, valid=2, test=1, num_frames=6, size=(96, 128)
):
  """Writes the data set below `folder`, returns its root.

  Video k is RefShapes clip `<train, val or test>/<seed + k>`, k counting over
  a split; every second one has height and width exchanged, and video k of the
  train split has k frames less than the first. As released, the valid
  expression file describes the test videos, too, and meta.json videos that no
  sentence is about.

  Args:
    folder: an existing folder.
    seed: of the first clip of each split.
    train, valid, test: number of videos.
    num_frames, size: of a video, (height, width).
  """
  root = pathlib.Path(folder) / "refer_youtube_vos"
  described = {"train": {}, "valid": {}, "test": {}}
  objects = {"0unused000": {"objects": {}}}
  for split, count in (("train", train), ("valid", valid), ("test", test)):
    for k in range(count):
      clip_split = "val" if split == "valid" else split
      height, width = size if k % 2 == 0 else size[::-1]
      clip = dataset.generate_clip(
        clip_split,
        seed + k,
        num_frames=max(1, num_frames - k if split == "train" else num_frames),
        height=height,
        width=width,
      )
      # As there, every fifth frame of the source.
      names = [f"{5 * t:05d}" for t in range(len(clip.frames))]
      _write_frames(root / split / "JPEGImages" / clip.name, names, clip)
      if split == "train":
        folder = root / split / "Annotations" / clip.name
        _write_labels(folder, names, clip)
        objects[clip.name] = {"objects": _objects(clip, names)}
      described[split][clip.name] = {
        "expressions": _expressions(clip, with_objects=split == "train"),
        "frames": names,
      }
  # Not in order of their names.
  both = described["test"] | dict(reversed(described["valid"].items()))
  described["valid"] = both
  for split, videos in described.items():
    path = root / "meta_expressions" / split / "meta_expressions.json"
    _write_json(path, {"videos": videos})
  _write_json(root / "train" / "meta.json", {"videos": objects})
  return root


def _write_frames(folder, names, clip):
  folder.mkdir(parents=True)
  for name, frame in zip(names, clip.frames):
    Image.fromarray(frame).save(folder / f"{name}.jpg", quality=95)


def _write_labels(folder, names, clip):
  folder.mkdir(parents=True)
  for name, labels in zip(names, ytvos_writer.label_map(clip.masks)):
    image = Image.fromarray(labels).convert("P")
    image.putpalette(palette.pascal_voc())
    image.save(folder / f"{name}.png")


def _objects(clip, names):
  shown = clip.masks.any((2, 3))
  return {
    str(i + 1): {
      "category": body.shape,
      "frames": list(np.array(names)[shown[i]]),
    }
    for i, body in enumerate(clip.scene.bodies)
  }


def _expressions(clip, *, with_objects):
  entries = {}
  for k, expression in enumerate(clip.expressions):
    entries[str(k)] = {"exp": expression.text}
    if with_objects:
      entries[str(k)]["obj_id"] = str(expression.object_index + 1)
  return entries


def _write_json(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))
