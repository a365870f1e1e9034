"""Clips with sentences, masks and boxes, made on demand.

A clip depends on nothing but its split, index, number of frames and size:
clips can be made in any order, by any number of processes.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Sequence

import numpy as np

from sgmg_jax import errors
from sgmg_jax.input_pipeline.ops import boxes as boxes_lib
from sgmg_jax.input_pipeline.refshapes import facts as facts_lib
from sgmg_jax.input_pipeline.refshapes import grammar
from sgmg_jax.input_pipeline.refshapes import render as render_lib
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

Expression = grammar.Expression

# Seeds of the splits; a clip's stream is that of (seed, index).
SPLIT_SEEDS = {"train": 20230, "val": 20231, "test": 20232}
MIN_SIDE = 32


@dataclasses.dataclass(frozen=True)
class Clip:
  """A synthetic clip and its sentences.

  Attributes:
    name: "<split>_<index>", unique within the dataset.
    frames: uint8[T, H, W, 3], RGB.
    masks: bool[O, T, H, W], visible pixels of each object.
    boxes: float32[O, T, 4], (x1, y1, x2, y2) of the masks in pixels, x2 and
      y2 the last occupied column and row; zeros where a mask is empty.
    expressions: sentences, each true of exactly one object.
    facts: what the sentences were judged by.
  """

  name: str
  frames: np.ndarray
  masks: np.ndarray
  boxes: np.ndarray
  expressions: tuple[Expression, ...]
  scene: scene_lib.Scene
  facts: facts_lib.Facts


def generate_clip(
  split: str,
  index: int,
  *,
  num_frames: int = 8,
  height: int = 160,
  width: int = 160,
) -> Clip:
  """Makes clip `index` of a split.

  The scene does not depend on the number of frames, nor on the size as long
  as the aspect ratio stays; sentences may, since they speak of what is seen.

  Every clip has an expression, so of the few scenes without one in the frames
  shown the next is taken.

  Args:
    split: "train", "val" or "test".
    index: any integer from 0.
    num_frames: frames that sample the scene evenly in time.
    height, width: of the frames in pixels, at least 32.

  Raises:
    UserError: an unknown split, a negative index or too small a clip.
  """
  if split not in SPLIT_SEEDS:
    raise errors.UserError(
      f"refshapes split {split!r}: expected one of {sorted(SPLIT_SEEDS)}"
    )
  if index < 0:
    raise errors.UserError(f"refshapes index {index}: expected 0 or more")
  if num_frames < 1 or min(height, width) < MIN_SIDE:
    raise errors.UserError(
      f"refshapes clip of {num_frames} frames, {height}x{width}: expected at "
      f"least 1 frame and {MIN_SIDE} pixels a side"
    )
  for attempt in itertools.count():
    entropy = [SPLIT_SEEDS[split], index, attempt]
    seeds = np.random.SeedSequence(entropy).spawn(2)
    scene = scene_lib.sample_scene(
      np.random.Generator(np.random.Philox(seeds[0])),
      height=height,
      width=width,
    )
    rendering = render_lib.render(
      scene, num_frames=num_frames, height=height, width=width
    )
    facts = facts_lib.measure(scene, rendering)
    wording = random.Random(int(seeds[1].generate_state(1, np.uint64)[0]))
    expressions = grammar.describe(facts, wording)
    # In very few scenes nothing can be told apart in the frames shown.
    if expressions:
      break
  return Clip(
    name=f"{split}_{index:06d}",
    frames=rendering.frames,
    masks=rendering.masks,
    boxes=boxes_lib.from_masks(rendering.masks),
    expressions=tuple(expressions),
    scene=scene,
    facts=facts,
  )


def swapped_expressions(expressions: Sequence[Expression]) -> list[int | None]:
  """For each sentence the position of one about another object of the clip.

  Scoring an object's mask against such a sentence shows whether a model
  listens. Among sentences about other objects one of the same kind is
  preferred, then the next in order. None if there is no other object.
  """
  count = len(expressions)
  swapped: list[int | None] = []
  for i, own in enumerate(expressions):
    others = [
      j % count
      for j in range(i + 1, i + count)
      if expressions[j % count].object_index != own.object_index
    ]
    alike = [j for j in others if expressions[j].kind == own.kind]
    swapped.append(next(iter(alike + others), None))
  return swapped
