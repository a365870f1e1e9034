"""JHMDB-Sentences in miniature: PNG frames, .mat masks, the fixed frames."""

import csv
import json
import pathlib

import numpy as np
import PIL.Image
import scipy.io
from pycocotools import mask as coco_mask

from sgmg_jax.input_pipeline.refshapes import dataset

ACTIONS = ("wave", "brush_hair")
# Of RefShapes: the sequence of clips that videos are taken from.
SPLIT = "test"


def make_jhmdb(
  folder, *, seed=0, videos=3, num_frames=10, num_masks=8, size=(96, 128)
):
  """Writes the data set below `folder`, returns its root.

  Video k is RefShapes clip `test/<seed + k>`, its person the object of the
  clip's first sentence. Its first `num_masks` frames have masks.

  Args:
    folder: an existing folder.
    seed: of the first clip.
    videos: how many.
    num_frames, size: of a video, (height, width).
    num_masks: frames with masks, from the first on.
  """
  root = pathlib.Path(folder) / "jhmdb_sentences"
  rng = np.random.default_rng(seed)
  samples, rows, images, annotations = [], [], [], []
  for k in range(videos):
    name, action = f"vid{k}", ACTIONS[k % len(ACTIONS)]
    height, width = size
    clip = dataset.generate_clip(
      SPLIT, seed + k, num_frames=num_frames, height=height, width=width
    )
    frames = root / "Rename_Images" / action / name
    frames.mkdir(parents=True)
    for number, frame in enumerate(clip.frames, 1):
      PIL.Image.fromarray(frame).save(frames / f"{number:05d}.png")
    person = clip.masks[clip.expressions[0].object_index, :num_masks]
    puppets = root / "puppet_mask" / action / name
    puppets.mkdir(parents=True)
    # [T, H, W] -> [H, W, T]
    part_mask = person.transpose(1, 2, 0).astype(np.uint8)
    scipy.io.savemat(
      puppets / "puppet_mask.mat", {"part_mask": part_mask}, do_compression=True
    )
    # As in the real file some sentences have stray blanks.
    sentence = clip.expressions[0].text + " " * (k == 1)
    rows.append((name, sentence))
    chosen = 1 + np.sort(rng.choice(num_masks, 3, replace=False))
    for frame in chosen.tolist():
      samples.append(
        [
          name,
          f"./jhmdb_sentences/Rename_Images/{action}/{name}/{frame:05d}.png",
          f"./jhmdb_sentences/puppet_mask/{action}/{name}/puppet_mask.mat",
          num_masks,
          sentence,
        ]
      )
      image_id = f"v_{name}_f_{frame}"
      images.append({"id": image_id, "height": height, "width": width})
      annotations.append(
        _annotation(len(images), image_id, part_mask[..., frame - 1])
      )
  with (root / "jhmdb_annotation.txt").open("w", newline="") as file:
    csv.writer(file).writerows([("video_id", "query"), *rows])
  _write_json(root / "jhmdb_sentences_samples_metadata.json", samples)
  _write_json(
    root / "jhmdb_sentences_gt_annotations_in_coco_format.json",
    {
      "categories": [{"id": 1, "name": "dummy_class"}],
      "images": images,
      "annotations": annotations,
    },
  )
  return root


def _annotation(number, image_id, mask):
  runs = coco_mask.encode(np.asfortranarray(mask))
  return {
    "id": number,
    "image_id": image_id,
    "category_id": 1,
    "segmentation": {
      "size": list(mask.shape),
      "counts": runs["counts"].decode(),
    },
    "area": float(mask.sum()),
    "iscrowd": 0,
  }


def _write_json(path, content):
  path.write_text(json.dumps(content))
