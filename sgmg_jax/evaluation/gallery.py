"""Small pictures of predictions beside the ground truth."""

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

# (row, frames) -> what was compared: bool[N, H, W] predicted and true.
Masks = Callable[[Row, Sequence[int]], tuple[np.ndarray, np.ndarray]]


class Gallery:
  """Draws sentences of scored predictions.

  Args:
    truth: the ground truth.
    predictions: that were scored.
  """

  def __init__(self, truth: truth_lib.Truth, predictions: str | os.PathLike):
    self._source = truth.source
    self._expressions = _by_row(truth)
    path = prediction_folder.predictions_in(predictions)
    reader = {
      "refer_davis": _labels,
      "annotated_frames": _detections,
    }.get(protocols.get(truth.name).module, _masks)
    self._masks = reader(truth, path)

  def draw(self, row: Row) -> list[bytes]:
    """JPEGs of a few frames, the prediction tinted, the truth outlined."""
    return [_jpeg(picture) for picture in self._pictures(row)]

  def strips(self, rows: Sequence[Row], count: int) -> list[PIL.Image.Image]:
    """So many of the rows at even distances, the same whatever their scores:
    the same frames side by side, under the sentence."""
    rows = sorted(rows, key=lambda row: (row.video, row.expression))
    chosen = rows[:: -(-len(rows) // count)] if rows else []
    return [overlay.strip(self._pictures(r), r.sentence) for r in chosen]

  def _pictures(self, row: Row) -> list[PIL.Image.Image]:
    e = self._expressions.get((row.video, row.expression))
    length = len(self._source.video(row.video).frames)
    number = min(FRAMES, length)
    indices = [int((k + 0.5) * length / number) for k in range(number)]
    if e and e.frame is not None:
      indices = [e.frame]
    frames = self._source.read_frames(row.video, indices)
    found, true = self._masks(row, indices)
    return [_picture(*each) for each in zip(frames, found, true)]


def _picture(
  frame: np.ndarray, found: np.ndarray, true: np.ndarray
) -> PIL.Image.Image:
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
  return picture


def _jpeg(picture: PIL.Image.Image) -> bytes:
  file = io.BytesIO()
  picture.save(file, "JPEG", quality=_QUALITY)
  return file.getvalue()


def _by_row(
  truth: truth_lib.Truth,
) -> dict[tuple[str, str], source_lib.Expression]:
  """The sentences by what rows name them with."""
  return {(e.video, e.id): e for e in truth.source.expressions}


def _masks(truth: truth_lib.Truth, path: os.PathLike) -> Masks:
  expressions = _by_row(truth)
  files = mask_files.open_masks(
    str(path), expressions.keys(), mask_videos.LAYOUT
  )

  def read(row, indices):
    key = row.video, row.expression
    video = truth.source.video(row.video)
    names = files.find(key, [video.frames[i] for i in indices])
    faults = faults_lib.Faults()  # Told when they were scored.
    found = mask_files.read_masks(files.tree, names, video.size, faults)
    return found, truth.source.read_masks(expressions[key], indices)

  return read


def _labels(truth: truth_lib.Truth, path: os.PathLike) -> Masks:
  """Of the label, and the object that it was assigned to."""
  source = truth.source
  keys = {
    (f"anno_{a}", e.video)
    for a in range(refer_davis.NUM_ANNOTATORS)
    for e in source.expressions
  }
  files = mask_files.open_masks(str(path), keys, refer_davis.LAYOUT)

  def read(row, indices):
    annotator, label, object_id = row.labels
    video = source.video(row.video)
    names = files.find(
      (f"anno_{annotator}", row.video), [video.frames[i] for i in indices]
    )
    faults = faults_lib.Faults()
    found = mask_files.read_masks(
      files.tree, names, video.size, faults, labels=True
    )
    true = np.stack([source.labels(row.video, i) for i in indices])
    return found == label, true == object_id

  return read


def _detections(truth: truth_lib.Truth, path: os.PathLike) -> Masks:
  """Of the best query."""
  expressions = _by_row(truth)
  ids = {
    key: annotated_frames.image_id(truth.name, e)
    for key, e in expressions.items()
  }
  sizes = {
    ids[key]: truth.source.video(e.video).size for key, e in expressions.items()
  }
  entries, _ = detections_file.read(path, sizes)
  answered = {entry["image_id"] for entry in entries}
  chosen = best_query.choose(answered, entries)
  best = {entry["image_id"]: entry for entry in chosen}

  def read(row, indices):
    key = row.video, row.expression
    true = truth.source.read_masks(expressions[key], indices)
    entry = best.get(ids[key])
    if entry is None:
      return np.zeros_like(true), true
    return coco_mask.decode(entry["segmentation"]).astype(bool)[None], true

  return read
