"""Predict units of a benchmark into the files of its layout.

Each kind of benchmark is a `Kind`, with the three stages that `overlap` runs
in threads of their own.
"""

from __future__ import annotations

import abc
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco_mask

from sgmg_jax.evaluation import (
  annotated_frames,
  davis,
  mask_writer,
  overlap,
  refer_davis,
  units,
)
from sgmg_jax.evaluation.prediction_folder import PredictionFolder
from sgmg_jax.files import atomic
from sgmg_jax.inference import (
  annotated_frame,
  expression_groups,
  memory_estimate,
  stages,
)
from sgmg_jax.inference import predictor as predictor_lib
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.batches import clip_sampler
from sgmg_jax.input_pipeline.sets import registry

DETECTIONS_FILE: Final = "predictions.json"


@dataclasses.dataclass(frozen=True)
class Kind(abc.ABC):
  """How the units of a benchmark are predicted and written.

  Attributes:
    window: frames that the model sees at once; None: all where memory allows.
    group: sentences that go through the model together.
    grouping: which of them, see `evaluator.Settings`.
    threshold: probability that a mask pixel exceeds.
    free: memory before anything is computed. Asked for each video, it would
      depend on the video that is computed at that time, and so would windows.
  """

  source: source_lib.Source
  window: int | None
  group: int
  grouping: str
  threshold: float
  free: memory_estimate.Free

  @abc.abstractmethod
  def read(self, predictor: predictor_lib.Predictor, unit: units.Unit) -> Any:
    """Read and resize the frames of a unit."""

  @abc.abstractmethod
  def compute(
    self, predictor: predictor_lib.Predictor, unit: units.Unit, frames: Any
  ) -> Iterator[Any]:
    """Give what the device made of them, complete, part by part."""

  @abc.abstractmethod
  def write(
    self,
    predictor: predictor_lib.Predictor,
    unit: units.Unit,
    part: Any,
    folder: PredictionFolder,
  ) -> Any:
    """Write the files of a part; returns what `record` takes of it."""

  def rounds(self, unit: units.Unit) -> list[np.ndarray]:
    """Positions of the sentences of a unit that may be asked together."""
    if self.grouping == "video":
      return [np.arange(len(unit.expressions))]
    # Sentences without an object are about nothing that they share.
    ranks = np.array(
      units.ranks([e.object_ids or e.id for e in unit.expressions])
    )
    return [np.flatnonzero(ranks == n) for n in range(max(ranks) + 1)]

  def group_of(
    self, predictor: predictor_lib.Predictor, unit: units.Unit
  ) -> int:
    """Most rows that the model gets together."""
    if not predictor.max_group:
      return self.group
    largest = max(map(len, self.rounds(unit)))
    return expression_groups.padded(min(largest, self.group), self.group)

  def encode_rounds(
    self, predictor: predictor_lib.Predictor, unit: units.Unit
  ) -> list[list[stages.TextGroup]]:
    """Encode the sentences of a unit: the groups of each round."""
    return [
      [
        text.at(positions)
        for text in predictor.encode_texts(
          [unit.expressions[i].text for i in positions], group=self.group
        )
      ]
      for positions in self.rounds(unit)
    ]

  def record(self, unit: units.Unit, parts: Sequence[Any]) -> dict[str, Any]:
    """What is kept of a unit beside its files, in JSON's types."""
    del unit
    return {"windows": 1 + max(parts, default=0)}

  def finish(
    self, folder: PredictionFolder, records: Sequence[Mapping[str, Any]]
  ) -> list[str]:
    """Write what all units have in common; returns notes for people."""
    del folder
    split = [r for r in records if r["windows"] > 1]
    if not split or self.window:
      return []
    return [
      f"{len(split)} of {len(records)} videos were too long for one pass and "
      f"ran in windows, the first {split[0]['unit']}: numbers of a machine "
      "with more memory may differ"
    ]


class SentenceMasks(Kind):
  """A mask for each sentence and frame: Ref-YouTube-VOS, MeViS, own data."""

  def read(self, predictor, unit):
    frames = _frames(self.source, unit.video)
    group = self.group_of(predictor, unit)
    clips = predictor.prepare(
      frames,
      window=self.window,
      # Masks are made while they are written, not of all sentences at once.
      expressions=min(len(unit.expressions), overlap.WRITERS * group),
      group=group,
      free=self.free,
    )
    # Only their sizes are asked for again.
    return [dataclasses.replace(clip, frames=()) for clip in clips]

  def compute(self, predictor, unit, frames):
    texts = sum(self.encode_rounds(predictor, unit), [])
    for number, clip in enumerate(frames):
      features = predictor.encode_clip(clip)
      for answer in predictor.ask(features, texts):
        yield number, clip, answer.ready()

  def write(self, predictor, unit, part, folder):
    number, clip, answer = part
    names = self.source.video(unit.video).frames
    names = names[clip.start : clip.start + clip.length]
    masks, *_ = predictor.finish(answer, clip, threshold=self.threshold)
    for position, mask in zip(answer.group.positions, masks, strict=True):
      expression = unit.expressions[position]
      place = folder.predictions / "Annotations" / unit.video / expression.id
      mask_writer.write_masks(place, names, mask)
    return number


class AnnotatorLabels(SentenceMasks):
  """Label maps of four annotators, who each name every object: Ref-DAVIS17.

  Sentence 4 o + a of a video is annotator a's of object o.
  """

  def rounds(self, unit):
    every = np.arange(len(unit.expressions))
    return [
      every[annotator :: refer_davis.NUM_ANNOTATORS]
      for annotator in range(refer_davis.NUM_ANNOTATORS)
    ]

  def compute(self, predictor, unit, frames):
    texts = self.encode_rounds(predictor, unit)
    for number, clip in enumerate(frames):
      features = predictor.encode_clip(clip)
      for annotator, of_annotator in enumerate(texts):
        answers = predictor.ask(features, of_annotator)
        yield number, clip, annotator, [answer.ready() for answer in answers]

  def write(self, predictor, unit, part, folder):
    number, clip, annotator, answers = part
    (probabilities,) = stages.in_order(
      [(a.group.positions, predictor.probabilities(a, clip)) for a in answers]
    )
    labels = davis.merge_expressions(probabilities)
    place = folder.predictions / f"anno_{annotator}" / unit.video
    mask_writer.write_labels(place, labels, clip.start)
    return number


class Detections(Kind):
  """All queries of one annotated frame: A2D, JHMDB, RefCOCO."""

  def read(self, predictor, unit):
    length = len(self.source.video(unit.video).frames)
    frames = clip_sampler.window(unit.frame, length, self.window or 1)
    clip = self.source.read_frames(unit.video, frames)
    # At the start of a video the window holds it several times: the first
    # counts, as released.
    return annotated_frame.prepare(predictor, clip, frames.index(unit.frame))

  def compute(self, predictor, unit, frames):
    texts = sum(self.encode_rounds(predictor, unit), [])
    features = annotated_frame.encode(predictor, frames)
    for answer in annotated_frame.ask(predictor, features, texts):
      yield frames, answer.ready()

  def write(self, predictor, unit, part, folder):
    frames, answer = part
    found = annotated_frame.finish(
      predictor, answer, frames, threshold=self.threshold
    )
    entries = []
    for row, position in enumerate(answer.group.positions):
      e = unit.expressions[position]
      image_id = annotated_frames.image_id(self.source.name, e)
      for score, mask, box in zip(
        found.scores[row], found.masks[row], found.boxes[row]
      ):
        code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        entries.append(
          {
            "image_id": image_id,
            "category_id": 1,
            "segmentation": {**code, "counts": code["counts"].decode()},
            "score": float(score),
            "bbox": [float(x) for x in box],
          }
        )
    return entries

  def record(self, unit, parts):
    return {"predictions": [entry for part in parts for entry in part]}

  def finish(self, folder, records):
    # In the order of the data set, since the last of equal scores counts.
    order = {
      annotated_frames.image_id(self.source.name, e): n
      for n, e in enumerate(self.source.expressions)
    }
    entries = [entry for r in records for entry in r["predictions"]]
    entries.sort(key=lambda entry: order[entry["image_id"]])
    path = folder.predictions / DETECTIONS_FILE
    with atomic.output(path, overwrite=True) as new:
      new.write_text(json.dumps(entries, allow_nan=False) + "\n")
    return []


def kind_of(name: str) -> type[Kind]:
  """The kind of a data set."""
  if name == "refer_davis":
    return AnnotatorLabels
  families = {"actors": Detections, "images": Detections}
  return families.get(registry.about(name).family, SentenceMasks)


def _frames(source: source_lib.Source, video: str) -> Iterator[np.ndarray]:
  """The frames of a video, read one at a time."""
  for index in range(len(source.video(video).frames)):
    yield source.read_frames(video, [index])[0]
