"""Batches of RefShapes clips with labels of every cell, without sentences.

Plain numpy; worker processes import no JAX. Batch `step` depends on (seed,
step) and the batch's sizes alone. Scenes come from a stream of their own: they
are in no split.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.refshapes import facts, render, scene
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels

# Beside `dataset.SPLIT_SEEDS`; a clip's stream is that of this, the seed, the
# step and its place in the batch.
STREAM = 20233
# Ends the number of the stream that chooses a clip's first frame.
_FIRST_FRAME = 1


@dataclasses.dataclass(frozen=True)
class CellBatchSpec:
  """The settings of a batch of B clips of T frames.

  Attributes:
    batch_size: B.
    num_frames: T.
    strides: of the maps whose cells have labels.
    scene_frames: frames of a scene, of which the clip is T consecutive ones:
      more and larger movements in as many frames. What objects do is judged on
      the whole scene. 0: T.
  """

  seed: int
  batch_size: int
  num_frames: int
  height: int
  width: int
  strides: tuple[int, ...]
  scene_frames: int = 0

  def __post_init__(self):
    if any(
      side % s for side in (self.height, self.width) for s in self.strides
    ):
      raise UserError(
        f"clips of {self.height}x{self.width}: expected multiples of "
        f"{max(self.strides)}"
      )
    if self.scene_frames and self.scene_frames < self.num_frames:
      raise UserError(
        f"scene_frames {self.scene_frames}: expected 0 or at least num_frames "
        f"({self.num_frames})"
      )


class CellBatch(NamedTuple):
  """Frames uint8[B, T, H, W, 3] and the labels of their cells."""

  frames: np.ndarray
  cells: cell_labels.CellLabels


def sample_scene(spec: CellBatchSpec, step: int, index: int) -> scene.Scene:
  """Draw the scene of clip `index` of batch `step`."""
  random = seeds.generator(STREAM, spec.seed, step, index)
  return scene.sample_scene(random, height=spec.height, width=spec.width)


def make_batch(spec: CellBatchSpec, step: int) -> CellBatch:
  """Make batch number `step`."""
  frames, labels = [], []
  for index in range(spec.batch_size):
    drawn = sample_scene(spec, step, index)
    num_frames = spec.scene_frames or spec.num_frames
    rendering = render.render(
      drawn,
      num_frames=num_frames,
      height=spec.height,
      width=spec.width,
    )
    seen = facts.measure(drawn, rendering)
    labelled = cell_labels.label_cells(seen, rendering.masks, spec.strides)
    random = seeds.generator(STREAM, spec.seed, step, index, _FIRST_FRAME)
    first = random.integers(num_frames - spec.num_frames + 1)
    part = slice(first, first + spec.num_frames)
    frames.append(rendering.frames[part])
    labels.append(
      cell_labels.CellLabels(*(tuple(x[part] for x in k) for k in labelled))
    )
  return CellBatch(np.stack(frames), cell_labels.stack(labels))
