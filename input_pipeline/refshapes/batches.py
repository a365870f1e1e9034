"""Training batches of RefShapes clips, several expressions per clip.

Plain numpy; worker processes import no JAX. Batch `step` depends on
(split, seed, step) alone: neither the number of workers nor an interruption
changes it. Clips are never flipped, their sentences speak of left and right.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch
from sgmg_jax.input_pipeline.batches import workers
from sgmg_jax.input_pipeline.refshapes import dataset, grammar, predicates

ClipBatch = batch.ClipBatch


# Batches of a seed: another seed draws other clips.
_STEPS = 1_000_000


@dataclasses.dataclass(frozen=True)
class BatchSpec:
  """What a batch looks like: B clips of T frames, E expressions each.

  Attributes:
    split: of RefShapes.
    seed: of the choice of clips and expressions.
    batch_size: B.
    expressions_per_clip: E.
    num_frames: T.
    height: of the frames, pixels.
    width: of the frames, pixels.
    kinds: of expressions to take, all if empty. A clip that has none of them
      gives its others.
    absent_share: of expressions to be replaced, where possible, by one of
      the batch's other clips that is false of every object; nothing is to be
      found then, in no frame.
    num_annotated: K, frames of every clip, drawn at random, that have ground
      truth and go through all of the model: of the T only its backbone sees
      the others. 0: all.
    labels: names of the labels to make, see `clip_labels.make`.
  """

  split: str
  seed: int
  batch_size: int
  expressions_per_clip: int
  num_frames: int
  height: int
  width: int
  kinds: tuple[str, ...] = ()
  absent_share: float = 0.0
  num_annotated: int = 0
  labels: tuple[str, ...] = ()

  def __post_init__(self):
    # Configs and saved positions hold lists.
    object.__setattr__(self, "kinds", tuple(self.kinds))
    object.__setattr__(self, "labels", tuple(self.labels))
    # A clip without the kinds gives others: a misspelt one would be all.
    if unknown := set(self.kinds) - set(grammar.KINDS):
      raise UserError(
        f"kinds: {min(unknown)!r} is unknown, expected some of "
        f"{', '.join(grammar.KINDS)}"
      )
    if not 0 <= self.num_annotated <= self.num_frames:
      raise UserError(
        f"num_annotated {self.num_annotated}: expected 0 (all) to num_frames "
        f"({self.num_frames})"
      )
    if not 0 <= self.absent_share <= 1:
      raise UserError(f"absent_share {self.absent_share}: expected 0 to 1")

  @property
  def bucket(self) -> tuple[int, int]:
    """(H, W), the padded size."""
    return batch.padded_size(self.height, self.width)


def choose_expressions(
  object_indices: list[int], count: int, random: np.random.Generator
) -> list[int]:
  """Positions of `count` expressions of a clip, spread over its objects.

  Every object gives one before any gives its second, and none is repeated
  before all are used.
  """
  rounds: dict[int, int] = {}
  ranked = []
  for position in random.permutation(len(object_indices)):
    index = object_indices[position]
    rounds[index] = rounds.get(index, 0) + 1
    # Sorting is stable: within a round the order stays random.
    ranked.append((rounds[index], int(position)))
  order = [position for _, position in sorted(ranked, key=lambda r: r[0])]
  return [order[i % len(order)] for i in range(count)]


def absent_expression(
  clip: dataset.Clip,
  others: Sequence[dataset.Expression],
  random: np.random.Generator,
) -> dataset.Expression | None:
  """One of `others` that is clearly false of every object of the clip."""
  judge = predicates.Judge(clip.facts)
  for k in random.permutation(len(others)):
    if judge.verdict(others[k].meaning).no == judge.everyone:
      return others[k]
  return None


def make_batch(spec: BatchSpec, step: int) -> ClipBatch:
  """Batch number `step`: no clip occurs twice, nor in runs of other seeds."""
  first = (spec.seed * _STEPS + step) * spec.batch_size
  clips, candidates = [], []
  for i in range(spec.batch_size):
    clip = dataset.generate_clip(
      spec.split,
      first + i,
      num_frames=spec.num_frames,
      height=spec.height,
      width=spec.width,
    )
    clips.append(clip)
    wanted = [e for e in clip.expressions if e.kind in spec.kinds]
    candidates.append(wanted or clip.expressions)
  expressions, masks, boxes, annotated, sentences = [], [], [], [], []
  for i, clip in enumerate(clips):
    random = np.random.default_rng((spec.seed, first + i))
    objects = [e.object_index for e in candidates[i]]
    chosen = choose_expressions(objects, spec.expressions_per_clip, random)
    others = candidates[i - 1] if len(clips) > 1 else ()
    kept = np.arange(spec.num_frames, dtype=np.int32)
    if spec.num_annotated:
      kept = np.sort(random.choice(kept, spec.num_annotated, replace=False))
    annotated.append(kept)
    said = []
    for k in chosen:
      expression, index = candidates[i][k], objects[k]
      mask, box = clip.masks[index][kept], clip.boxes[index][kept]
      if random.random() < spec.absent_share:
        absent = absent_expression(clip, others, random)
        if absent is not None:
          expression, index = absent, None
          mask, box = np.zeros_like(mask), np.zeros_like(box)
      expressions.append(expression.text)
      masks.append(mask)
      boxes.append(box)
      said.append((expression.meaning, index))
    sentences.append(said)
  truth = np.stack(masks)
  frames = np.stack([clip.frames for clip in clips])
  size = np.array([spec.height, spec.width], np.int32)
  return ClipBatch(
    frames=batch.pad(frames, spec.bucket, 2),
    size=np.tile(size, (spec.batch_size, 1)),
    expressions=expressions,
    boxes=batch.normalise_boxes(np.stack(boxes), spec.height, spec.width),
    masks=batch.pad(truth, spec.bucket, 2),
    valid=truth.any((2, 3)),
    annotated=np.stack(annotated) if spec.num_annotated else None,
    labels=_make_labels(spec, clips, annotated, sentences),
  )


def _make_labels(spec, clips, annotated, sentences) -> dict[str, Any]:
  if not spec.labels:
    return {}
  # Removable: nothing but pre-training's losses asks for labels.
  from sgmg_jax.input_pipeline.refshapes.labels import clip_labels

  return clip_labels.make(spec.labels, clips, annotated, sentences, spec.bucket)


def batches(
  spec: BatchSpec, *, start: int, num_workers: int, prefetch: int
) -> Iterator[ClipBatch]:
  """Batches `start`, `start + 1`, ... without end.

  Args:
    spec: of the batches.
    start: first step.
    num_workers: processes that make them; 0 makes them in this one.
    prefetch: batches made ahead, with workers.
  """
  return workers.in_order(
    functools.partial(make_batch, spec),
    start=start,
    num_workers=num_workers,
    prefetch=prefetch,
  )
