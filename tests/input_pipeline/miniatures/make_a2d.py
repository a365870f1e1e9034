"""A2D-Sentences in miniature: mp4 clips, h5 annotations, text, both lists."""

import csv
import json
import pathlib

import av
import h5py
import numpy as np
from pycocotools import mask as coco_mask

from sgmg_jax.input_pipeline.ops import boxes as boxes_lib
from sgmg_jax.input_pipeline.refshapes import dataset

# Ids of a video's instances count from 1 and have gaps.
INSTANCE_IDS = (1, 3, 4, 7, 8, 9, 10, 11)
# Of RefShapes: the sequence of clips that videos are taken from.
SPLIT = "train"


def make_a2d(
  folder,
  *,
  seed=0,
  train=3,
  test=2,
  num_frames=12,
  size=(96, 128),
  clip_folder="CLIPS320",
  lists=True,
):
  """Writes the data set below `folder`, returns its root.

  Video k is RefShapes clip `train/<seed + k>`, k counting over the train,
  then the test videos; its frames 2, 6 and 11, from 1, are annotated. The
  first video of each split has a single annotated instance. Beside these,
  each split has a video that was missed by the annotation of instances, and
  the training set the row of instance "1 (copy)".

  Args:
    folder: an existing folder.
    seed: of the first clip.
    train, test: number of annotated videos.
    num_frames, size: of a video, (height, width).
    clip_folder: "CLIPS320" or "clips320H".
    lists: whether to write the lists that MTTR distributes, too.
  """
  root = pathlib.Path(folder) / "a2d_sentences"
  clips = root / "Release" / clip_folder
  texts = root / "text_annotations"
  clips.mkdir(parents=True)
  texts.mkdir()
  splits = ["train"] * train + ["test"] * test
  videos, rows, examples = [], [], {"train": [], "test": []}
  first = {"train": 0, "test": train}
  for k, split in enumerate(splits):
    name = f"_vid{k}"
    clip = _clip(seed + k, num_frames, size)
    objects = list(range(len(clip.masks)))
    if k == first[split]:
      objects = [clip.expressions[0].object_index]
    _write_mp4(clips / f"{name}.mp4", clip.frames)
    videos.append((name, split, num_frames))
    annotations = texts / "a2d_annotation_with_instances" / name
    shown = _write_h5(annotations, clip.masks, objects)
    for o, sentence in _sentences(clip, objects):
      rows.append((name, INSTANCE_IDS[o], sentence))
      examples[split] += [
        [sentence.lower(), name, frame, INSTANCE_IDS[o]]
        for frame, seen in shown.items()
        if o in seen
      ]
  for split in dict.fromkeys(splits):
    name = f"missed_{split}"
    clip = _clip(seed + len(splits), num_frames, size)
    _write_mp4(clips / f"{name}.mp4", clip.frames)
    videos.append((name, split, num_frames))
    rows.append((name, 1, "nobody outlined this"))
  rows.insert(1, ("_vid0", "1 (copy)", "a copied row"))
  with (root / "Release" / "videoset.csv").open("w", newline="") as file:
    csv.writer(file).writerows(
      (name, 11, "0:00:01", "0:00:03", *size, frames, 3, int(split == "test"))
      for name, split, frames in videos
    )
  with (texts / "a2d_annotation.txt").open("w", newline="") as file:
    csv.writer(file).writerows([("video_id", "instance_id", "query"), *rows])
  missed = [name for name, _, _ in videos if name.startswith("missed_")]
  (texts / "a2d_missed_videos.txt").write_text("\n".join(missed) + "\n")
  if lists:
    for split, found in examples.items():
      path = root / f"a2d_sentences_single_frame_{split}_annotations.json"
      path.write_text(json.dumps(found))
    coco = _coco(texts / "a2d_annotation_with_instances", examples["test"])
    path = root / "a2d_sentences_test_annotations_in_coco_format.json"
    path.write_text(json.dumps(coco))
  return root


def _clip(index, num_frames, size):
  height, width = size
  return dataset.generate_clip(
    SPLIT, index, num_frames=num_frames, height=height, width=width
  )


def _sentences(clip, objects):
  """One (object, sentence) for every object that has one; with capitals."""
  chosen = {e.object_index: e.text for e in clip.expressions}
  return [(o, chosen[o].capitalize()) for o in objects if o in chosen]


def _write_mp4(path, frames):
  height, width = frames.shape[1:3]
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=25)
    stream.width, stream.height = width, height
    stream.pix_fmt = "yuv420p"
    # One key frame, and frames that are not stored in the order shown.
    stream.options = {"crf": "16", "g": "250", "bf": "2"}
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
      container.mux(stream.encode(picture))
    container.mux(stream.encode())


def _write_h5(folder, masks, objects):
  """Writes the annotated frames; returns {frame from 1: objects shown}."""
  folder.mkdir(parents=True)
  shown = {}
  for frame in (2, 6, 11):
    seen = [o for o in objects if masks[o, frame - 1].any()]
    if not seen:
      continue
    shown[frame] = seen
    now = masks[seen, frame - 1]
    # MATLAB stores by column, and h5 sees it transposed.
    stored = now.transpose(0, 2, 1).astype(np.uint8)
    boxes = boxes_lib.from_masks(now).T
    with h5py.File(folder / f"{frame:05d}.h5", "w") as file:
      single = len(seen) == 1
      file["instance"] = np.array([INSTANCE_IDS[o] for o in seen])
      file["reMask"] = stored[0] if single else stored
      file["reBBox"] = boxes[:, 0] if single else boxes
      file["id"] = np.ones(len(seen))
  return shown


def _coco(annotations, examples):
  """The ground truth of the test split in the COCO format."""
  images, found = [], []
  for number, (_, video, frame, instance) in enumerate(examples, 1):
    with h5py.File(annotations / video / f"{frame:05d}.h5") as file:
      row = file["instance"][:].tolist().index(instance)
      stored = file["reMask"][:]
      x1, y1, x2, y2 = file["reBBox"][:].reshape(4, -1)[:, row].tolist()
    mask = stored.reshape(-1, *stored.shape[-2:])[row].T
    runs = coco_mask.encode(np.asfortranarray(mask))
    image_id = f"v_{video}_f_{frame}_i_{instance}"
    height, width = mask.shape
    images.append({"id": image_id, "height": height, "width": width})
    found.append(
      {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": {
          "size": [height, width],
          "counts": runs["counts"].decode(),
        },
        "area": float(mask.sum()),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": 0,
      }
    )
  categories = [{"id": 1, "name": "dummy_class"}]
  return {"categories": categories, "images": images, "annotations": found}
