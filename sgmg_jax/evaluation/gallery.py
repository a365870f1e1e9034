"""Pictures of predictions beside the ground truth, as small JPEGs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import PIL.Image
from pycocotools import mask as coco_mask

from sgmg_jax.evaluation import (
  annotated_frames,
  best_query,
  detections_file,
  mask_files,
  mask_videos,
  prediction_folder,
  protocols,
  refer_davis,
)
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.evaluation.scores import Row
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.pictures import overlay

# Frames of a sentence; pixels of their width.
FRAMES: Final = 3
_WIDTH: Final = 240
_QUALITY: Final = 80
# Of the prediction and of the truth; told apart by colour-blind people, too.
_PREDICTED: Final = (255, 140, 0)
_TRUE: Final = (51, 153, 255)

# (sentence, frames) -> bool[N, H, W].
Masks = Callable[[source_lib.Expression, Sequence[int]], np.ndarray]


class Gallery:
  """Draws sentences of scored predictions.

  Args:
    truth: the ground truth.
    predictions: that were scored.
  """

  def __init__(self, truth: truth_lib.Truth, predictions: str | os.PathLike):
    self._source = truth.source
    self._expressions = {(e.video, e.id): e for e in self._source.expressions}
    path = prediction_folder.predictions_in(predictions)
    reader = {
      "refer_davis": _labels,
      "annotated_frames": _detections,
    }.get(protocols.get(truth.name).module, _masks)
    self._masks = reader(truth, path)

  def draw(self, row: Row) -> list[bytes]:
    """JPEGs of a few frames, the prediction tinted, the truth outlined.

    Returns:
      Nothing of a row that no sentence answers.
    """
    e = self._expressions.get((row.video, row.expression))
    if e is None:
      return []
    length = len(self._source.video(e.video).frames)
    number = min(FRAMES, length)
    indices = [int((k + 0.5) * length / number) for k in range(number)]
    if e.frame is not None:
      indices = [e.frame]
    frames = self._source.read_frames(e.video, indices)
    true = self._source.read_masks(e, indices)
    found = self._masks(e, indices)
    return [_picture(*each) for each in zip(frames, found, true)]


def _picture(frame: np.ndarray, found: np.ndarray, true: np.ndarray) -> bytes:
  height, width = frame.shape[:2]
  size = _WIDTH, max(1, round(height * _WIDTH / width))
  picture = PIL.Image.fromarray(frame).resize(size)
  small = [
    np.asarray(
      PIL.Image.fromarray(mask).resize(size, PIL.Image.Resampling.NEAREST)
    )
    for mask in (found, true)
  ]
  overlay.draw_mask(picture, small[0], _PREDICTED)
  overlay.draw_outline(picture, small[1], _TRUE)
  file = io.BytesIO()
  picture.save(file, "JPEG", quality=_QUALITY)
  return file.getvalue()


def _masks(truth: truth_lib.Truth, path: os.PathLike) -> Masks:
  keys = {(e.video, e.id) for e in truth.source.expressions}
  files = mask_files.open_masks(str(path), keys, mask_videos.LAYOUT)

  def read(e, indices):
    video = truth.source.video(e.video)
    names = files.find((e.video, e.id), [video.frames[i] for i in indices])
    faults = faults_lib.Faults()  # Told when they were scored.
    return mask_files.read_masks(files.tree, names, video.size, faults)

  return read


def _labels(truth: truth_lib.Truth, path: os.PathLike) -> Masks:
  """Of the label that answers a sentence: object k // 4, annotator k % 4."""
  order: dict[str, list[str]] = {}
  for e in truth.source.expressions:
    order.setdefault(e.video, []).append(e.id)
  number = refer_davis.NUM_ANNOTATORS
  keys = {(f"anno_{a}", video) for a in range(number) for video in order}
  files = mask_files.open_masks(str(path), keys, refer_davis.LAYOUT)

  def read(e, indices):
    label, annotator = divmod(order[e.video].index(e.id), number)
    video = truth.source.video(e.video)
    names = files.find(
      (f"anno_{annotator}", e.video), [video.frames[i] for i in indices]
    )
    faults = faults_lib.Faults()
    found = mask_files.read_masks(
      files.tree, names, video.size, faults, labels=True
    )
    return found == label + 1

  return read


def _detections(truth: truth_lib.Truth, path: os.PathLike) -> Masks:
  """Of the best query."""
  ids = {
    (e.video, e.id): annotated_frames.image_id(truth.name, e)
    for e in truth.source.expressions
  }
  sizes = {
    ids[e.video, e.id]: truth.source.video(e.video).size
    for e in truth.source.expressions
  }
  entries, _ = detections_file.read(path, sizes)
  answered = {entry["image_id"] for entry in entries}
  chosen = best_query.choose(answered, entries)
  best = {entry["image_id"]: entry for entry in chosen}

  def read(e, indices):
    entry = best.get(ids[e.video, e.id])
    size = sizes[ids[e.video, e.id]]
    if entry is None:
      return np.zeros((len(indices), *size), bool)
    return coco_mask.decode(entry["segmentation"]).astype(bool)[None]

  return read
