"""RefCOCO, RefCOCO+ and RefCOCOg in miniature: COCO images, REFER pickles."""

import json
import pathlib
import pickle
import struct

import numpy as np
import PIL.Image
import scipy.ndimage
import scipy.spatial

from sgmg_jax.input_pipeline.refshapes import dataset

PARTITIONS = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}
SPLITS = {
  "refcoco": ("train", "val", "testA", "testB"),
  "refcoco+": ("train", "val", "testA", "testB"),
  "refcocog": ("train", "val", "test"),
}
# Of RefShapes: the sequence of clips that images are taken from.
SPLIT = "val"


def make_refcoco(
  folder,
  *,
  seed=0,
  images=6,
  size=(96, 128),
  datasets=tuple(SPLITS),
):
  """Writes the data sets below `folder`, returns the folder "coco".

  Image k is the first frame of RefShapes clip `val/<seed + k>`, COCO id
  101 + k; its polygons are hulls of the objects' parts. All sets share the
  images: of set number d, image k is in the split number (k + d) modulo the
  number of splits, so that sets leak into each other as the real ones do.

  Args:
    folder: an existing folder.
    seed: of the first clip.
    images: how many.
    size: (height, width) of even images; odd ones are upright.
    datasets: which sets to write.
  """
  root = pathlib.Path(folder) / "coco"
  (root / "train2014").mkdir(parents=True)
  clips, coco_images, annotations = [], [], []
  for k in range(images):
    height, width = size if k % 2 == 0 else size[::-1]
    clip = dataset.generate_clip(
      SPLIT, seed + k, num_frames=1, height=height, width=width
    )
    clips.append(clip)
    file_name = f"COCO_train2014_{101 + k:012d}.jpg"
    PIL.Image.fromarray(clip.frames[0]).save(
      root / "train2014" / file_name, quality=95, subsampling=0
    )
    coco_images.append(
      {
        "license": 1,
        "file_name": file_name,
        "coco_url": "",
        "height": height,
        "width": width,
        "date_captured": "",
        "flickr_url": "",
        "id": 101 + k,
      }
    )
    annotations += [
      _annotation(101 + k, o, mask)
      for o, mask in enumerate(clip.masks[:, 0])
      if mask.any()
    ]
  instances = {
    "info": {"description": "miniature"},
    "licenses": [{"id": 1, "name": "x", "url": ""}],
    "images": coco_images,
    "annotations": annotations,
    "categories": [
      {"supercategory": "person", "id": 1, "name": "person"},
      {"supercategory": "vehicle", "id": 3, "name": "car"},
    ],
  }
  for number, name in enumerate(datasets):
    target = root / name
    target.mkdir()
    (target / "instances.json").write_text(json.dumps(instances))
    with (target / f"refs({PARTITIONS[name]}).p").open("wb") as file:
      refs = _refs(clips, annotations, SPLITS[name], number)
      _Python2Pickler(file, protocol=2).dump(refs)
  return root


class _Python2Pickler(pickle._Pickler):
  """Writes strings as Python 2 did: as bytes without an encoding."""

  dispatch = dict(pickle._Pickler.dispatch)

  def _save_str(self, text):
    data = text.encode("latin1")
    if len(data) < 256:
      self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
    else:
      self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
    self.memoize(text)

  dispatch[str] = _save_str


def _annotation(image_id, number, mask):
  polygons = _polygons(mask)
  points = np.concatenate([np.reshape(p, (-1, 2)) for p in polygons])
  (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
  return {
    "segmentation": polygons,
    "area": float(mask.sum()),
    "iscrowd": 0,
    "image_id": image_id,
    "bbox": [x1, y1, x2 - x1, y2 - y1],
    "category_id": (1, 3)[number % 2],
    "id": 90 * image_id + number,
  }


def _polygons(mask):
  """The convex hull of every connected part, x and y in turn."""
  parts, count = scipy.ndimage.label(mask)
  polygons = []
  for part in range(1, count + 1):
    rows, columns = np.nonzero(parts == part)
    pixels = np.stack([columns, rows], 1)
    # A pixel is a square: the hull of the corners surrounds all of it.
    corners = np.concatenate([pixels + c for c in np.ndindex(2, 2)])
    hull = scipy.spatial.ConvexHull(corners)
    polygons.append(corners[hull.vertices].astype(float).ravel().tolist())
  return polygons


def _refs(clips, annotations, splits, shift):
  ids = {annotation["id"]: annotation for annotation in annotations}
  refs, sent_id = [], 0
  for k, clip in enumerate(clips):
    described = {}
    for expression in clip.expressions:
      described.setdefault(expression.object_index, []).append(expression.text)
    for o, texts in described.items():
      ann_id = 90 * (101 + k) + o
      sentences = [
        {
          "tokens": text.split(),
          "raw": f"{text.upper()}.",
          "sent_id": sent_id + i,
          "sent": text.lower(),
        }
        for i, text in enumerate(texts)
      ]
      sent_id += len(texts)
      refs.append(
        {
          "sent_ids": [sentence["sent_id"] for sentence in sentences],
          # Not the name of an image file: the last number is another.
          "file_name": f"COCO_train2014_{101 + k:012d}_{o}.jpg",
          "ann_id": ann_id,
          "ref_id": len(refs) + 1,
          "image_id": 101 + k,
          "split": splits[(k + shift) % len(splits)],
          "sentences": sentences,
          "category_id": ids[ann_id]["category_id"],
        }
      )
  return refs
