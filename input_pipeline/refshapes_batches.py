"""Training batches of RefShapes clips, several expressions per clip.

Plain numpy; worker processes import no JAX. Batch `step` depends on
(split, seed, step) alone: neither the number of workers nor an interruption
changes it. Clips are never flipped, their sentences speak of left and right.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from sgmg_jax.input_pipeline import batch, workers
from sgmg_jax.input_pipeline.refshapes import dataset

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
  """

  split: str
  seed: int
  batch_size: int
  expressions_per_clip: int
  num_frames: int
  height: int
  width: int
  kinds: tuple[str, ...] = ()

  def __post_init__(self):
    # Configs and saved positions hold lists.
    object.__setattr__(self, "kinds", tuple(self.kinds))

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


def make_batch(spec: BatchSpec, step: int) -> ClipBatch:
  """Batch number `step`: no clip occurs twice, nor in runs of other seeds."""
  frames, expressions, masks, boxes = [], [], [], []
  for i in range(spec.batch_size):
    index = (spec.seed * _STEPS + step) * spec.batch_size + i
    clip = dataset.generate_clip(
      spec.split,
      index,
      num_frames=spec.num_frames,
      height=spec.height,
      width=spec.width,
    )
    random = np.random.default_rng((spec.seed, index))
    candidates = clip.expressions
    if spec.kinds:
      wanted = [e for e in candidates if e.kind in spec.kinds]
      candidates = wanted or candidates
    objects = [e.object_index for e in candidates]
    frames.append(clip.frames)
    for k in choose_expressions(objects, spec.expressions_per_clip, random):
      expressions.append(candidates[k].text)
      masks.append(clip.masks[objects[k]])
      boxes.append(clip.boxes[objects[k]])
  truth = np.stack(masks)
  size = np.array([spec.height, spec.width], np.int32)
  return ClipBatch(
    frames=batch.pad(np.stack(frames), spec.bucket, 2),
    size=np.tile(size, (spec.batch_size, 1)),
    expressions=expressions,
    boxes=batch.normalise_boxes(np.stack(boxes), spec.height, spec.width),
    masks=batch.pad(truth, spec.bucket, 2),
    valid=truth.any((2, 3)),
  )


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
