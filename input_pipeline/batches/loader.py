"""Load rows of the plan as numpy arrays, safely from many threads.

The result depends on the plan and the row alone, so neither the number
of threads nor that of processes changes it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.batches import clip_sampler, planner, recipes
from sgmg_jax.input_pipeline.ops import captions, pseudo_video

# Samples whose size is looked at in a row's place; few of them are decoded.
_MAX_LOOKS = 100 * planner.MAX_ATTEMPTS


class DataSet:
  """A source, its recipe, and how often it is listed.

  Attributes:
    repeat: how often a mixture lists it.
    no_target: whether training takes sentences that refer to no object.
    samples: of the recipe's sampler, in the official order.
    groups: those samples that one example is made of: single ones, or with
      several expressions per clip all of a video with the same anchor.
    lengths: (T, K, E), frames, annotated frames and most expressions of every
      example.
    skipped: messages of videos that could not be opened.
  """

  def __init__(
    self,
    source: source_lib.Source,
    recipe: recipes.Recipe,
    *,
    repeat: int = 1,
    skip_errors: bool = False,
    no_target: bool = True,
    expressions_per_clip: int = 1,
  ):
    """List the samples.

    Args:
      skip_errors: whether videos that cannot be opened have no samples,
        rather than raise.

    Raises:
      UserError: a video cannot be opened; or examples would differ in length.
    """
    self.source, self.recipe, self.repeat = source, recipe, repeat
    self.no_target = no_target
    self.skipped: list[str] = []

    def video_length(video):
      try:
        return len(source.video(video).frames)
      except UserError as error:
        if not skip_errors:
          raise
        if str(error) not in self.skipped:
          self.skipped.append(str(error))
        return 0

    self.samples = recipe.sampler.samples(source.expressions, video_length)
    groups: dict[Any, list[clip_sampler.Sample]] = {}
    for i, sample in enumerate(self.samples):
      clip = sample.expression.video, sample.anchor
      groups.setdefault(clip if expressions_per_clip > 1 else i, []).append(
        sample
      )
    self.groups = list(groups.values())
    self.lengths = *self._lengths(video_length), expressions_per_clip

  def _lengths(self, video_length):
    if isinstance(self.recipe.sampler, clip_sampler.WholeVideos):
      lengths = {video_length(e.video) for e in self.source.expressions}
      if len(lengths) > 1:
        raise UserError(
          f"{self.source.name} {self.source.split}: whole videos of "
          f"{min(lengths)} to {max(lengths)} frames make no batches; evaluate "
          "them one by one"
        )
      return 2 * tuple(lengths)
    for op in self.recipe.ops:
      if isinstance(op, pseudo_video.PseudoVideo):
        return op.num_frames, op.num_frames
    num_frames = self.recipe.sampler.num_frames
    sparse = (clip_sampler.AnnotatedClips, clip_sampler.Windows)
    if isinstance(self.recipe.sampler, sparse):
      return num_frames, 1
    return num_frames, num_frames

  @property
  def resample(self) -> bool:
    """Whether others take the place of samples that cannot be read."""
    return self.recipe.resample

  def part(self) -> planner.Part:
    """Describe the set to the planner."""
    return planner.Part(
      f"{self.source.name} {self.source.split}",
      len(self.groups),
      self.output_size,
      self.repeat,
    )

  def output_size(self, index: int, seed: planner.Seed) -> planner.Size:
    """Compute the size of an example, without decoding it.

    Raises:
      UserError: the video cannot be opened.
    """
    video = self.source.video(self.groups[index][0].expression.video)
    return self.recipe.output_size(video.size, seed)

  def example(self, index: int, seed: planner.Seed) -> dict[str, Any]:
    """Read and transform a clip with up to E expressions.

    Returns:
      See `ops.base` for the keys; and `expression_valid` bool[E], which
      expressions are used. Those without a target teach to find nothing, where
      frames without their object teach what is wrong.

    Raises:
      UserError: a frame or mask cannot be read.
    """
    sample, expressions = self._choose(index, seed)
    video = self.source.video(sample.expression.video)
    clip = self.recipe.clip(sample, len(video.frames), seed)
    annotated = [clip.frames[i] for i in clip.annotated]
    read = self.source.read_frames
    if self.recipe.takes_images:
      read = self.source.read_images
    masks = {
      e.object_ids: _once_each(
        functools.partial(self.source.read_masks, e), annotated
      )
      for e in {e.object_ids: e for e in expressions}.values()
    }
    example = {
      "frames": _once_each(functools.partial(read, video.name), clip.frames),
      "masks": np.stack([masks[e.object_ids] for e in expressions]),
      "annotated": np.array(clip.annotated, np.int32),
      "expressions": [e.text for e in expressions],
      "size": video.size,
    }
    boxes = [self.source.box(e) for e in expressions]
    if all(box is not None for box in boxes):
      example["boxes"] = np.stack(boxes)[:, None]
    example = self.recipe.apply(example, seed)
    no_target = np.array([not e.object_ids for e in expressions])
    used = self.recipe.accepts(example) | (no_target & self.no_target)
    return example | {"expression_valid": used}

  def _choose(
    self, index: int, seed: planner.Seed
  ) -> tuple[clip_sampler.Sample, list[source_lib.Expression]]:
    """Choose a sample's expressions: distinct ones, any number up to E."""
    group = self.groups[index]
    random = seeds.generator(*seed, -2)
    shuffled = [group[i].expression for i in random.permutation(len(group))]
    distinct = {captions.normalise(e.text): e for e in shuffled}
    most = min(self.lengths[-1], len(distinct))
    count = int(random.integers(most)) + 1
    return group[0], list(distinct.values())[:count]


def _once_each(read, indices):
  """Read each frame once; clips of short videos have some twice."""
  unique, places = np.unique(indices, return_inverse=True)
  if len(unique) == len(indices):
    return read([int(i) for i in indices])
  found = read([int(i) for i in unique])
  if isinstance(found, np.ndarray):
    return found[places]
  return [found[place] for place in places]


@dataclasses.dataclass(frozen=True)
class Loader:
  """A loader of the rows of one plan.

  Attributes:
    data_sets: of the plan's mixture, in its order; `DataSet`s, or what draws
      examples without a source, see `registry.open_stream`.
    skip_errors: whether a record that cannot be read is passed over rather
      than raised. In its place comes, as in that of a sample that its recipe
      does not accept, another one; in evaluation a masked row.
  """

  data_sets: Sequence[DataSet]
  mixture: planner.Mixture
  seed: int
  skip_errors: bool

  @property
  def lengths(self) -> tuple[int, int, int]:
    """(T, K, E) of every row.

    Raises:
      UserError: the data sets of a mixture disagree.
    """
    parts = zip(self.data_sets, self.mixture.parts)
    lengths = {data_set.lengths: part.name for data_set, part in parts}
    if len(lengths) > 1:
      raise UserError(
        "data sets of one mixture must have as many (frames, annotated "
        f"frames, expressions) each, got {lengths}"
      )
    return next(iter(lengths))

  def load(
    self, row: planner.Row, bucket: planner.Size
  ) -> tuple[dict[str, Any], list[str]]:
    """Load one row of a batch.

    Returns:
      The fields of `batch.pad_example`, with `valid_row` and `index`; and
      the messages of records passed over.

    Raises:
      UserError: a record cannot be read; or no valid sample was found.
    """
    skipped: list[str] = []
    if row.index < 0:
      return self._empty(row, bucket), skipped
    tried = 0
    for attempt in itertools.count(row.attempt):
      index, seed = row.index, (self.seed, row.epoch, row.position, attempt)
      again = attempt > row.attempt
      if again:
        index = self.mixture.redraw(seed)
      if tried == planner.MAX_ATTEMPTS or attempt > _MAX_LOOKS:
        reason = f", such as: {skipped[-1]}" if skipped else ""
        raise UserError(
          f"none of {tried} samples that fit {bucket} is readable and shows "
          f"its object{reason}"
        )
      owner, inside = self.mixture.locate(index)
      data_set = self.data_sets[owner]
      try:
        if again and not planner.fits(
          data_set.output_size(inside, seed), bucket
        ):
          continue
        tried += 1
        example = data_set.example(inside, seed)
      except UserError as error:
        if not self.skip_errors:
          raise
        skipped.append(str(error))
        if not data_set.resample:
          return self._empty(row, bucket), skipped
        continue
      if example["expression_valid"].any():
        padded = batch_lib.pad_example(example, bucket, self.lengths[-1])
        return padded | _identity(True, index), skipped
    raise AssertionError("unreachable")

  def _empty(self, row, bucket):
    empty = batch_lib.empty_example(bucket, *self.lengths)
    return empty | _identity(False, row.index)


def _identity(valid_row: bool, index: int) -> dict[str, Any]:
  return {"valid_row": np.bool_(valid_row), "index": np.int64(index)}
