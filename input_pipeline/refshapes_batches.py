"""Training batches of RefShapes clips, several expressions per clip.

Plain numpy; worker processes import no JAX. Batch `step` depends on
(split, seed, step) alone: neither the number of workers nor an interruption
changes it. Clips are never flipped, their sentences speak of left and right.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
from collections.abc import Iterator
from concurrent import futures

import numpy as np
from sgmg_jax.input_pipeline.refshapes import dataset

# Ground truth and frames are padded to this in training.
PAD_MULTIPLE = 32


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


@dataclasses.dataclass(frozen=True)
class ClipBatch:
  """A batch before tokenizing; expression e of clip b is row b * E + e.

  Attributes:
    frames: uint8[B, T, H, W, 3], zero-padded to multiples of 32.
    size: int32[B, 2], (height, width) before padding.
    expressions: B * E sentences.
    boxes: float32[B * E, T, 4], (cx, cy, w, h) over the unpadded clip.
    masks: bool[B * E, T, H, W], padded as the frames.
    valid: bool[B * E, T], False where the object is not to be seen.
  """

  frames: np.ndarray
  size: np.ndarray
  expressions: list[str]
  boxes: np.ndarray
  masks: np.ndarray
  valid: np.ndarray


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


def normalise_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
  """(x1, y1, x2, y2) in pixels -> (cx, cy, w, h) over the frame, float32."""
  x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
  centers = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], -1)
  return (centers / np.array([width, height] * 2)).astype(np.float32)


def _pad(array: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
  widths = [(0, 0)] * array.ndim
  for axis in axes:
    widths[axis] = (0, -array.shape[axis] % PAD_MULTIPLE)
  return np.pad(array, widths)


def make_batch(spec: BatchSpec, step: int) -> ClipBatch:
  """Batch number `step`: every clip index is used once in a run."""
  frames, expressions, masks, boxes = [], [], [], []
  for i in range(spec.batch_size):
    index = step * spec.batch_size + i
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
    frames=_pad(np.stack(frames), (2, 3)),
    size=np.tile(size, (spec.batch_size, 1)),
    expressions=expressions,
    boxes=normalise_boxes(np.stack(boxes), spec.height, spec.width),
    masks=_pad(truth, (2, 3)),
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
  if num_workers == 0:
    step = start
    while True:
      yield make_batch(spec, step)
      step += 1
  # A fork would inherit JAX's threads and locks.
  context = multiprocessing.get_context("spawn")
  pool = futures.ProcessPoolExecutor(num_workers, mp_context=context)
  try:
    make = functools.partial(pool.submit, make_batch, spec)
    ahead = max(prefetch, num_workers)
    pending = [make(start + i) for i in range(ahead)]
    step = start + ahead
    while True:
      pending.append(make(step))
      step += 1
      yield pending.pop(0).result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)
