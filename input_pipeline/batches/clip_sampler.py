"""Samplers: the clips of a data set and the frames of each.

A sampler lists the samples of a source and chooses the frames of one. The
choice is a pure function of explicit draws, below a method that makes them.
As in the official SgMg training and ReferFormer before it, except that short
videos also fill long clips (their loaders fail).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sgmg_jax.input_pipeline import source

MAX_STEP = 3


@dataclasses.dataclass(frozen=True)
class Sample:
  """An expression and the frame of its video around which the clip lies."""

  expression: source.Expression
  anchor: int


@dataclasses.dataclass(frozen=True)
class Clip:
  """Frames of a sample.

  Attributes:
    frames: indices into the video, T of them; some may occur twice.
    annotated: positions in `frames` whose ground truth is taken, ascending.
  """

  frames: tuple[int, ...]
  annotated: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Draws:
  """The random numbers of one clip.

  Attributes:
    before: frames from the anchor back to the first neighbour, 1..3.
    after: the same forwards.
    positions: into what `pool` returns.
    reverse: whether time runs backwards.
  """

  before: int
  after: int
  positions: tuple[int, ...]
  reverse: bool = False


class Sampler(abc.ABC):
  """A rule that cuts a data set into clips."""

  @abc.abstractmethod
  def samples(
    self,
    expressions: Iterable[source.Expression],
    video_length: Callable[[str], int],
  ) -> list[Sample]:
    """List all samples, in the official order."""

  @abc.abstractmethod
  def clip(
    self, sample: Sample, length: int, random: np.random.Generator
  ) -> Clip:
    """Choose the frames of a sample of a video of `length` frames."""


@dataclasses.dataclass(frozen=True)
class SpreadClips(Sampler):
  """Ref-YouTube-VOS and Ref-DAVIS17 training: two neighbours of the anchor,
  the rest from all over the video; every frame has ground truth.

  Attributes:
    num_frames: T.
    reverse: probability of running backwards.
    lone_anchor: whether a clip of one frame is the anchor itself; otherwise
      it is the neighbour before.
  """

  num_frames: int
  reverse: float = 0.0
  lone_anchor: bool = False

  def samples(self, expressions, video_length):
    return [
      Sample(expression, anchor)
      for expression in expressions
      for anchor in range(0, video_length(expression.video), self.num_frames)
    ]

  def clip(self, sample, length, random):
    frames = self._frames(sample.anchor, length, random)
    return Clip(frames, tuple(range(len(frames))))

  def _frames(self, anchor, length, random):
    after, before = (int(n) for n in random.integers(1, MAX_STEP + 1, 2))
    near = neighbours(
      anchor, length, self.num_frames, before, after, self.lone_anchor
    )
    draws = Draws(
      before,
      after,
      draw_positions(near, length, self.num_frames, random),
      reverse=bool(random.random() < self.reverse),
    )
    return spread_frames(
      anchor, length, self.num_frames, draws, self.lone_anchor
    )


@dataclasses.dataclass(frozen=True)
class AnnotatedClips(SpreadClips):
  """A2D-Sentences training: as `SpreadClips` around the only frame with
  ground truth, which the clip always holds."""

  lone_anchor: bool = True

  def samples(self, expressions, video_length):
    del video_length  # One sample per annotated frame.
    return [Sample(e, _annotated_frame(e)) for e in expressions]

  def clip(self, sample, length, random):
    frames = self._frames(sample.anchor, length, random)
    return Clip(frames, (frames.index(sample.anchor),))


@dataclasses.dataclass(frozen=True)
class Windows(Sampler):
  """A2D and JHMDB evaluation: consecutive frames around the one with ground
  truth. Windows of one frame are single images."""

  num_frames: int

  def samples(self, expressions, video_length):
    del video_length  # One sample per annotated frame.
    return [Sample(e, _annotated_frame(e)) for e in expressions]

  def clip(self, sample, length, random):
    del random  # Evaluation draws nothing.
    frames = window(sample.anchor, length, self.num_frames)
    return Clip(frames, (frames.index(sample.anchor),))


@dataclasses.dataclass(frozen=True)
class WholeVideos(Sampler):
  """Every frame, once per expression; all have ground truth unless the
  expression's objects are not public."""

  def samples(self, expressions, video_length):
    del video_length
    return [Sample(expression, 0) for expression in expressions]

  def clip(self, sample, length, random):
    del random  # Nothing to draw.
    frames = tuple(range(length))
    return Clip(frames, frames if sample.expression.object_ids else ())


def _annotated_frame(expression: source.Expression) -> int:
  if expression.frame is None:
    raise ValueError(f"{expression.key}: has no single annotated frame")
  return expression.frame


def neighbours(
  anchor: int,
  length: int,
  num_frames: int,
  before: int,
  after: int,
  lone_anchor: bool = False,
) -> list[int]:
  """List the anchor and its two neighbours, clamped to the video."""
  if num_frames == 1 and lone_anchor:
    return [anchor]
  return [anchor, max(0, anchor - before), min(length - 1, anchor + after)]


def pool(
  near: Sequence[int], length: int, num_frames: int
) -> tuple[list[int], int]:
  """List the other frames that a clip can have; and how many are drawn.

  The pool is what lies outside the neighbours. It officially holds the later
  neighbour too, which may thus occur twice. If it is too small every frame
  can be drawn; if there are not even enough of those, each is taken once and
  only the remainder is drawn.
  """
  wanted = num_frames - 3
  if wanted <= 0:
    return [], 0
  outside = [*range(min(near)), *range(max(near), length)]
  if len(outside) > wanted:
    return outside, wanted
  return list(range(length)), wanted - length if wanted > length else wanted


def draw_positions(
  near: Sequence[int],
  length: int,
  num_frames: int,
  random: np.random.Generator,
) -> tuple[int, ...]:
  """Draw positions in `pool`, distinct unless more are needed than it has."""
  candidates, count = pool(near, length, num_frames)
  if not count:
    return ()
  distinct = count <= len(candidates)
  drawn = random.choice(len(candidates), count, replace=not distinct)
  return tuple(int(position) for position in drawn)


def spread_frames(
  anchor: int,
  length: int,
  num_frames: int,
  draws: Draws,
  lone_anchor: bool = False,
) -> tuple[int, ...]:
  """List the frames of a `SpreadClips` clip, ascending unless reversed.

  A clip of two frames takes the first two of three, so it may miss the
  anchor; the others hold it.
  """
  frames = neighbours(
    anchor, length, num_frames, draws.before, draws.after, lone_anchor
  )
  candidates, _ = pool(frames, length, num_frames)
  frames += [candidates[position] for position in draws.positions]
  if num_frames - 3 > length:
    frames += range(length)
  frames.sort(reverse=draws.reverse)
  return tuple(frames[:num_frames])


def window(anchor: int, length: int, num_frames: int) -> tuple[int, ...]:
  """List consecutive frames around the anchor, clamped to the video."""
  first = anchor - num_frames // 2
  return tuple(
    min(max(frame, 0), length - 1) for frame in range(first, first + num_frames)
  )
