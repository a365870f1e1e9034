"""Ref-DAVIS17 in miniature, unpacked from the archives as downloaded."""

import json
import pathlib

import numpy as np
from PIL import Image

from sgmg_jax.input_pipeline import palette
from sgmg_jax.input_pipeline.refshapes import dataset, ytvos_writer

VIDEOS = {
  "train": ("classic-car", "dogs-scale", "boat"),
  "val": ("motorbike", "blackswan"),
}
# How the text files spell them.
SPELLINGS = {
  "classic-car": "clasic-car",
  "dogs-scale": "dog-scale",
  "motorbike": "motor-bike",
}
ENCODINGS = {"annot1": "utf-8", "annot2": "latin-1"}


def make_refer_davis(
  folder, *, seed=0, num_frames=6, size=(96, 128), level="480p"
):
  """Writes the data set below `folder`, returns its root.

  Video k is RefShapes clip `train/<seed + k>`, k counting over the train, then
  the val videos. All objects are described by all annotators, who tell
  themselves apart by a prefix (of letters that their encodings differ in);
  the first line of each text file lacks its quotes. A rim of 3 pixels of the
  label maps is void.

  Args:
    folder: an existing folder.
    seed: of the first clip.
    num_frames, size: of a video, (height, width).
    level: folder between `JPEGImages` and the videos; "" for none.
  """
  root = pathlib.Path(folder) / "refer_davis"
  davis = root / "DAVIS"
  semantics = {}
  lines = {
    f"Davis17_{person}{kind}": []
    for person in ENCODINGS
    for kind in ("", "_full_video")
  }
  index = seed
  for split, videos in VIDEOS.items():
    path = davis / "ImageSets" / "2017" / f"{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{video}\n" for video in videos))
    for video in videos:
      clip = dataset.generate_clip(
        "train", index, num_frames=num_frames, height=size[0], width=size[1]
      )
      index += 1
      _write_frames(davis / "JPEGImages" / level / video, clip.frames)
      labels = ytvos_writer.label_map(clip.masks)
      for rim in (labels[:, :3], labels[:, -3:]):
        rim[:] = 255
      for rim in (labels[:, :, :3], labels[:, :, -3:]):
        rim[:] = 255
      _write_labels(davis / "Annotations_unsupervised" / level / video, labels)
      semantics[video] = {
        str(i + 1): body.shape for i, body in enumerate(clip.scene.bodies)
      }
      described = {e.object_index: e.text for e in clip.expressions}
      for a, annotator in enumerate(lines):
        # From the last object to the first: the conversion sorts.
        for i in sorted(described, reverse=True):
          line = f'{SPELLINGS.get(video, video)} {i + 1} "à{a} {described[i]}"'
          lines[annotator].append(line)
  for annotator, content in lines.items():
    content[0] = content[0].replace('"', "")
    path = root / "davis_text_annotations" / f"{annotator}.txt"
    path.parent.mkdir(exist_ok=True)
    encoding = ENCODINGS[annotator.split("_")[1]]
    path.write_bytes("".join(f"{x}\n" for x in content).encode(encoding))
  (davis / "davis_semantics.json").write_text(json.dumps(semantics))
  return root


def _write_frames(folder, frames):
  folder.mkdir(parents=True)
  for t, frame in enumerate(frames):
    Image.fromarray(frame).save(folder / f"{t:05d}.jpg", quality=95)


def _write_labels(folder, labels):
  folder.mkdir(parents=True)
  for t, label in enumerate(np.asarray(labels)):
    image = Image.fromarray(label).convert("P")
    image.putpalette(palette.pascal_voc())
    image.save(folder / f"{t:05d}.png")
