"""Batches of RefShapes sentences with labels of what they say, without clips.

Plain numpy; worker processes import no JAX. Batch `step` depends on (seed,
step) and the batch's sizes alone. The sentences are those of clips of the
training split, which are rendered, as small as they may be, only because
sentences speak of what is seen.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.refshapes.labels import meaning_labels

# Batches of a seed: another seed has sentences of other clips.
_STEPS = 1_000_000


@dataclasses.dataclass(frozen=True)
class SentenceBatchSpec:
  """The settings of a batch of B sentences, all there are of some clips.

  Attributes:
    seed: of the choice of clips.
    batch_size: B.
    num_frames: of the clips; sentences about one frame speak of no motion.
  """

  seed: int
  batch_size: int
  num_frames: int
  height: int
  width: int


class SentenceBatch(NamedTuple):
  """B sentences and their labels bool[B, N], see `meaning_labels`."""

  texts: list[str]
  labels: np.ndarray


def make_batch(spec: SentenceBatchSpec, step: int) -> SentenceBatch:
  """Make batch number `step`; no other has sentences of its clips.

  Raises:
    UserError: the clips are too small, see `dataset.generate_clip`.
  """
  # A clip has at least one sentence: so many clips are always enough.
  first = (spec.seed * _STEPS + step) * spec.batch_size
  clips = (
    dataset.generate_clip(
      "train",
      index,
      num_frames=spec.num_frames,
      height=spec.height,
      width=spec.width,
    )
    for index in itertools.count(first)
  )
  said = itertools.chain.from_iterable(clip.expressions for clip in clips)
  chosen = list(itertools.islice(said, spec.batch_size))
  return SentenceBatch(
    [expression.text for expression in chosen],
    np.stack([meaning_labels.label(e.meaning) for e in chosen]),
  )
