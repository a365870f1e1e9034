"""MeViS in miniature: frames, sentences, and all masks in one JSON file."""

import json
import pathlib

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from sgmg_jax.input_pipeline.refshapes import dataset, render

SPLITS = {"train": "train", "valid_u": "val", "valid": "test"}


def make_mevis(
  folder,
  *,
  seed=0,
  train=2,
  valid_u=1,
  valid=1,
  num_frames=6,
  size=(96, 128),
  version=1,
):
  """Writes the data set below `folder`, returns its root.

  Video k of split train, valid_u or valid is RefShapes clip
  `<train, val or test>/<seed + k>`; every second one has height and width
  exchanged. Masks are the objects' outlines, which overlap; annotation ids
  count over all videos of a split. The last expression of a video refers to
  two objects or, in version 2, to none.

  Args:
    folder: an existing folder.
    seed: of the first clip of each split.
    train, valid_u, valid: number of videos.
    num_frames, size: of a video, (height, width).
    version: of the sentences' file name and form, 1 or 2.
  """
  root = pathlib.Path(folder) / "mevis"
  for split, count in zip(SPLITS, (train, valid_u, valid)):
    videos, masks = {}, {}
    for k in range(count):
      height, width = size if k % 2 == 0 else size[::-1]
      shape = {"num_frames": num_frames, "height": height, "width": width}
      clip = dataset.generate_clip(SPLITS[split], seed + k, **shape)
      names = [f"{t:05d}" for t in range(num_frames)]
      _write_frames(root / split / "JPEGImages" / clip.name, names, clip)
      outlines = render.render(clip.scene, **shape).outlines
      first = len(masks)
      for outline in outlines:
        masks[str(len(masks))] = [_run_lengths(mask) for mask in outline]
      expressions = {
        str(e): {
          "exp": sentence.text,
          "obj_id": [sentence.object_index],
          "anno_id": [first + sentence.object_index],
        }
        for e, sentence in enumerate(clip.expressions)
      }
      last = {"exp": "The two shapes ", "obj_id": [0, 1]}
      last["anno_id"] = [first, first + 1]
      if version == 2:
        last = {"exp": "the eighth shape", "obj_id": [], "anno_id": []}
      expressions[str(len(expressions))] = last
      videos[clip.name] = {
        "expressions": expressions,
        "vid_id": k,
        "frames": names,
        "height": height,
        "width": width,
      }
    name = "meta_expressions.json"
    if version == 2:
      name = "meta_expressions_v2.json"
    if split == "valid":
      if version == 2:
        name = "meta_expressions_v2_release.json"
      for video in videos.values():
        for expression in video["expressions"].values():
          del expression["obj_id"], expression["anno_id"]
    else:
      (root / split / "mask_dict.json").write_text(json.dumps(masks))
    (root / split / name).write_text(json.dumps({"videos": videos}))
  return root


def _write_frames(folder, names, clip):
  folder.mkdir(parents=True)
  for name, frame in zip(names, clip.frames):
    Image.fromarray(frame).save(folder / f"{name}.jpg", quality=95)


def _run_lengths(mask):
  if not mask.any():
    return None
  encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
  return {"size": encoded["size"], "counts": encoded["counts"].decode()}
