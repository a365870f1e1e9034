"""RefShapes clips by number, without end, several expressions each.

Clip n depends on the split, n and the run's seed alone, whoever draws it.
Clips are never flipped, their sentences speak of left and right.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch
from sgmg_jax.input_pipeline.batches import planner
from sgmg_jax.input_pipeline.refshapes import dataset, grammar, predicates

GROUPS = ("", "objects", "all", "mixed")


@dataclasses.dataclass(frozen=True)
class Stream:
  """Examples of B successive clips each, as `loader.DataSet` gives them.

  Attributes:
    batch_size: B.
    expressions_per_clip: E, of every clip; they repeat where it has fewer.
    group: what Fast SgMg is trained with: distinct expressions, any number up
      to E of them, about "objects" that differ, about "all", or "mixed",
      either by chance. The rows beyond only fill. Empty: always E.
    num_frames: T.
    kinds: of expressions to take, all if empty. A clip that has none of them
      gives its others.
    absent_share: of expressions to be replaced, where possible, by one of the
      batch's clip before (of the first: the last) that is false of every
      object; nothing is to be found then, in no frame.
    num_annotated: K, frames of every clip, drawn at random, that have ground
      truth and go through all of the model: of the T only its backbone sees
      the others. 0: all.
    labels: names of the labels to make, see `clip_labels.make`.
  """

  split: str
  batch_size: int
  expressions_per_clip: int
  num_frames: int
  height: int
  width: int
  kinds: Sequence[str] = ()
  absent_share: float = 0.0
  num_annotated: int = 0
  labels: Sequence[str] = ()
  group: str = ""
  # Of `loader.DataSet`: nothing is ever read.
  skipped: tuple[str, ...] = ()
  resample: bool = False

  def __post_init__(self):
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
    if self.group not in GROUPS:
      raise UserError(
        f"group: expected {', '.join(GROUPS[1:])} or nothing, got "
        f"{self.group!r}"
      )
    if not 0 <= self.absent_share <= 1:
      raise UserError(f"absent_share {self.absent_share}: expected 0 to 1")

  @functools.cached_property
  def clip(self) -> Callable[[int], dataset.Clip]:
    """Draw a clip by its number; those of a batch are remembered."""
    draw = functools.partial(
      dataset.generate_clip,
      self.split,
      num_frames=self.num_frames,
      height=self.height,
      width=self.width,
    )
    return functools.lru_cache(self.batch_size)(draw)

  @property
  def lengths(self) -> tuple[int, int, int]:
    """(T, K, E)."""
    num_annotated = self.num_annotated or self.num_frames
    return self.num_frames, num_annotated, self.expressions_per_clip

  def part(self) -> planner.Part:
    return planner.Part(
      f"refshapes {self.split}", planner.ENDLESS, self.output_size
    )

  def output_size(self, index: int, seed: planner.Seed) -> planner.Size:
    del index, seed  # All are alike.
    return self.height, self.width

  def example(self, index: int, seed: planner.Seed) -> dict[str, Any]:
    """Make an example of a clip: that of `loader.DataSet`, and `labels`."""
    clip, candidates = self.clip(index), self._candidates(index)
    random = np.random.default_rng((seed[0], index))
    objects = [e.object_index for e in candidates]
    chosen = choose_expressions(objects, self.expressions_per_clip, random)
    count = len(chosen)
    if self.group:
      count = draw_count(objects, chosen, self.group, random)
      chosen = [chosen[i % count] for i in range(len(chosen))]
    kept = np.arange(self.num_frames, dtype=np.int32)
    if self.num_annotated:
      kept = np.sort(random.choice(kept, self.num_annotated, replace=False))
    meant = np.array(objects)[chosen][:, None]
    masks, boxes = clip.masks[meant, kept], clip.boxes[meant, kept]
    said = []
    for row, k in enumerate(chosen):
      expression, referent = candidates[k], objects[k]
      if random.random() < self.absent_share:
        others = self._others(index)
        if self.group:
          taken = {expression.text for expression, _ in said}
          taken |= {candidates[k].text for k in chosen}
          others = [e for e in others if e.text not in taken]
        absent = absent_expression(clip, others, random)
        if absent is not None:
          expression, referent = absent, None
          masks[row], boxes[row] = False, 0
      said.append((expression, referent))
    used = np.arange(len(said)) < count
    masks[~used], boxes[~used] = False, 0
    return {
      "frames": clip.frames,
      "masks": masks,
      "boxes": boxes,
      "valid": masks.any((-2, -1)),
      "expression_valid": used,
      "annotated": kept,
      "expressions": [
        expression.text if counts else batch.FILLING
        for (expression, _), counts in zip(said, used, strict=True)
      ],
      "size": (self.height, self.width),
      "labels": self._make_labels(clip, kept, said),
    }

  def _candidates(self, index: int) -> Sequence[dataset.Expression]:
    every = self.clip(index).expressions
    return [e for e in every if e.kind in self.kinds] or every

  def _others(self, index: int) -> Sequence[dataset.Expression]:
    if self.batch_size == 1:
      return ()
    before = (index - 1) % self.batch_size - index % self.batch_size
    return self._candidates(index + before)

  def _make_labels(self, clip, kept, said) -> dict[str, Any]:
    if not self.labels:
      return {}
    # Removable: nothing but pre-training's losses asks for labels.
    from sgmg_jax.input_pipeline.refshapes.labels import clip_labels

    meanings = [(expression.meaning, referent) for expression, referent in said]
    bucket = batch.padded_size(self.height, self.width)
    return clip_labels.make(self.labels, clip, kept, meanings, bucket)


def choose_expressions(
  object_indices: list[int], count: int, random: np.random.Generator
) -> list[int]:
  """Choose positions of `count` expressions, spread over a clip's objects.

  Every object gives one before any gives its second, and none is repeated
  before all are used.
  """
  shuffled = random.permutation(len(object_indices))
  order = spread([object_indices[position] for position in shuffled])
  return [int(shuffled[order[i % len(order)]]) for i in range(count)]


def draw_count(
  object_indices: Sequence[int],
  chosen: Sequence[int],
  group: str,
  random: np.random.Generator,
) -> int:
  """Draw how many of `choose_expressions` make a group of distinct ones.

  Args:
    chosen: positions of E of them, every object's first before any second.
    group: "objects", "all" or "mixed".
  """
  if group == "mixed":
    group = str(random.choice(GROUPS[1:3]))
  most = len(set(object_indices) if group == "objects" else object_indices)
  return int(random.integers(min(most, len(chosen)))) + 1


def spread(object_indices: Sequence[int]) -> list[int]:
  """Order positions so that every object comes once before any twice."""
  rounds: dict[int, int] = {}
  ranks = []
  for index in object_indices:
    rounds[index] = rounds.get(index, 0) + 1
    ranks.append(rounds[index])
  return sorted(range(len(ranks)), key=ranks.__getitem__)


def absent_expression(
  clip: dataset.Clip,
  others: Sequence[dataset.Expression],
  random: np.random.Generator,
) -> dataset.Expression | None:
  """Choose one of `others` that is clearly false of every object of a clip."""
  judge = predicates.Judge(clip.facts)
  for k in random.permutation(len(others)):
    if judge.verdict(others[k].meaning).no == judge.everyone:
      return others[k]
  return None
