"""Predictor, the interface for users: segment videos by sentences."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import compilation_cache, errors, types
from sgmg_jax import precision as precision_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.inference import (
  annotated_frame,
  preprocess,
  results,
  stages,
)
from sgmg_jax.inference import open_video as video_lib

Progress = Callable[[float], None]


def load(
  name_or_path: str | os.PathLike,
  dtype: Any = jnp.float32,
  precision: precision_lib.Policy = "highest",
) -> Predictor:
  """A predictor from a native checkpoint.

  Args:
    name_or_path: a checkpoint folder, or a bundled name ("refshapes-mini").
    dtype: of computation; parameters stay float32.
    precision: of float32 products on accelerators. "highest" gives the numbers
      that a CPU gives; "default" is faster and rounds their operands to
      bfloat16 (TPU) or TF32 (GPU), except in what stays float32 under mixed
      precision, too.

  Raises:
    UserError: no such checkpoint, it is damaged, or no such precision.
  """
  compilation_cache.enable()
  precision_lib.check(precision)
  return Predictor(native.load(name_or_path), dtype, precision)


@dataclasses.dataclass(frozen=True)
class EncodedVideo:
  """A video's features, ready for any number of sentences.

  Memory grows with the length of the video, by about 14 MB a frame for the
  tiny model at 360x640.

  Attributes:
    clips: features of each window, and its frames.
  """

  video: video_lib.VideoReader
  clips: list[tuple[types.VideoFeatures, stages.PreparedClip]] = (
    dataclasses.field(repr=False)
  )

  @property
  def geometry(self) -> preprocess.Geometry:
    """Sizes of its frames."""
    return self.clips[0][1].geometry


class Predictor(stages.Stages):
  """Segments videos by sentences with one checkpoint."""

  def segment(
    self,
    video: Any,
    expressions: Sequence[str],
    *,
    window: int | None = None,
    threshold: float = 0.5,
    group: int | None = None,
    progress: Progress | None = None,
  ) -> results.Segmentation:
    """Masks of every expression's object in every frame, in memory.

    Args:
      video: any source that `video.open_video` takes.
      expressions: E sentences, one object each.
      window: frames that the model sees at once; None: the whole clip where
        it fits into memory (see `memory.most_frames`), else the checkpoint's
        window. Which it was is logged.
      threshold: probability that a mask pixel exceeds.
      group: sentences that go through the model together; None: see
        `stages.Stages.group_size`. SgMg answers as if each were alone. Fast
        SgMg does not: 1 asks it about each alone.
      progress: called with 0 once all input is checked, then with the frames
        done since the last call; each sentence counts for a part of a frame.

    Raises:
      UserError: a bad video, expression, window, group or threshold.
    """
    reader, expressions, steps = self._start(
      video, expressions, window, threshold, group, progress=progress
    )
    return self._collect(reader, expressions, threshold, steps)

  def segment_to_folder(
    self,
    video: Any,
    expressions: Sequence[str],
    out: str | os.PathLike,
    *,
    window: int | None = None,
    threshold: float = 0.5,
    group: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
  ) -> results.Summary:
    """`segment` and `save` in memory that does not grow with the video.

    `results` describes the files.
    """
    reader, expressions, steps = self._start(
      video, expressions, window, threshold, group, progress=progress
    )
    writer = results.ResultWriter(
      out,
      reader,
      expressions,
      checkpoint=self.name,
      threshold=threshold,
      overwrite=overwrite,
    )
    with writer:
      for step in steps:
        writer.add(step)
    return writer.summary()

  def stream(
    self,
    frames: Any,
    expressions: Sequence[str],
    *,
    window: int | None = None,
    threshold: float = 0.5,
    group: int | None = None,
  ) -> Iterator[results.WindowResult]:
    """One result per window of a video without end, in bounded memory.

    Args:
      frames: any source; typically an iterator of uint8[H, W, 3] RGB frames.
      window: frames per result; None: the checkpoint's.
      expressions, threshold, group: as in `segment`.
    """
    _, _, steps = self._start(
      frames, expressions, window, threshold, group, whole=False
    )
    return steps

  def encode(self, video: Any, *, window: int | None = None) -> EncodedVideo:
    """Run everything that does not depend on a sentence."""
    _check_window(window)
    reader = video_lib.open_video(video)
    clips = []
    # As many sentences may be asked together later.
    group = self.group_size(None)
    for clip in self.prepare(reader, window=window, group=group):
      features = self.encode_clip(clip)
      # The pixels are not asked for again.
      frames = [frame._replace(pixels=None) for frame in clip.frames]
      clip = dataclasses.replace(clip, pixels=None, frames=frames)
      clips.append((features, clip))
    return EncodedVideo(reader, clips)

  def query(
    self,
    encoded: EncodedVideo,
    expressions: Sequence[str],
    *,
    threshold: float = 0.5,
    group: int | None = None,
  ) -> results.Segmentation:
    """`segment` a video of `encode`, with the same numbers and arguments.

    Args:
      group: as in `segment`.

    Raises:
      UserError: `encoded` is something else, or as `segment`.
    """
    if not isinstance(encoded, EncodedVideo):
      raise errors.UserError(
        f"query of {type(encoded).__name__}: expected what encode returned, as "
        "in query(encode(video), sentences); or segment(video, sentences)"
      )
    expressions = _as_list(expressions)
    _check_threshold(threshold)
    texts = self.encode_texts(expressions, group=group)
    steps = [
      self._window_result(clip, self._answers(features, texts, clip, threshold))
      for features, clip in encoded.clips
    ]
    return self._collect(encoded.video, expressions, threshold, steps)

  def detect(
    self,
    clip: np.ndarray,
    frame: int,
    expressions: Sequence[str],
    *,
    threshold: float = 0.5,
    group: int | None = None,
  ) -> annotated_frame.Detections:
    """Every query's mask, score and box of one frame, as A2D scores them.

    Args:
      clip: uint8[T, H, W, 3], RGB; T = 1 is a picture.
      frame: position of the frame that is asked about.
      expressions: E sentences.
      threshold: probability that a mask pixel exceeds.
      group: as in `segment`.

    Raises:
      UserError: a bad clip, frame, expression, group or threshold.
    """
    expressions = _as_list(expressions)
    _check_threshold(threshold)
    texts = self.encode_texts(expressions, group=group)
    prepared = annotated_frame.prepare(self, clip, frame)
    features = annotated_frame.encode(self, prepared)
    answers = []
    for answer in annotated_frame.ask(self, features, texts):
      found = annotated_frame.finish(
        self, answer, prepared, threshold=threshold
      )
      answers.append(
        (answer.group.positions, found.scores, found.masks, found.boxes)
      )
    return annotated_frame.Detections(*stages.in_order(answers))

  def _start(
    self,
    video: Any,
    expressions: Sequence[str],
    window: int | None,
    threshold: float,
    group: int | None,
    *,
    whole: bool = True,
    progress: Progress | None = None,
  ) -> tuple[video_lib.VideoReader, list[str], Iterator[results.WindowResult]]:
    """Check everything; the results are computed as they are asked for."""
    reader = video_lib.open_video(video)
    expressions = _as_list(expressions)
    texts = self.encode_texts(expressions, group=group)
    _check_threshold(threshold)
    _check_window(window)
    clips = self.prepare(
      reader,
      window=window,
      whole=whole,
      expressions=len(expressions),
      group=max(text.group.padded for text in texts),
    )
    steps = self._steps(reader, clips, texts, threshold, progress)
    return reader, expressions, steps

  def _steps(self, reader, clips, texts, threshold, progress):
    # A bad size is told before anything is written or reported.
    self.geometry(reader)
    if progress:
      progress(0.0)
    num_sentences = sum(len(text.group.positions) for text in texts)
    for clip in clips:
      # The encoding counts as one more sentence.
      share = clip.length / (num_sentences + 1)
      features = self.encode_clip(clip)
      if progress:
        jax.block_until_ready(features)
        progress(share)
      answers = []
      for answer in self._answers(features, texts, clip, threshold):
        answers.append(answer)
        if progress:
          progress(share * len(answer[0]))
      yield self._window_result(clip, answers)
    if progress and reader.skipped:
      progress(len(reader.skipped))

  def _answers(self, features, texts, clip, threshold):
    """Positions, masks, scores and boxes of each group of sentences."""
    for answer in self.ask(features, texts):
      found = self.finish(answer, clip, threshold=threshold)
      yield answer.group.positions, *found

  def _window_result(self, clip, answers) -> results.WindowResult:
    pixels, times, numbers = map(list, zip(*clip.frames))
    fields = stages.in_order(answers)
    return results.WindowResult(clip.start, pixels, *fields, times, numbers)

  def _collect(self, reader, expressions, threshold, steps):
    steps = list(steps)
    fields = [(s.masks, s.scores, s.boxes) for s in steps]
    masks, scores, boxes = (np.concatenate(x, 1) for x in zip(*fields))
    return results.Segmentation(
      expressions=tuple(expressions),
      masks=masks,
      scores=scores,
      boxes=boxes,
      video=reader,
      checkpoint=self.name,
      threshold=threshold,
      times=sum((s.times for s in steps), []),
      numbers=sum((s.numbers for s in steps), []),
    )


def _as_list(expressions: Sequence[str] | str) -> list[str]:
  """A single sentence may come as it is."""
  if isinstance(expressions, str):
    return [expressions]
  if not isinstance(expressions, Iterable):
    raise errors.UserError(
      f"expressions of type {type(expressions).__name__}: expected sentences"
    )
  expressions = list(expressions)
  for expression in expressions:
    if not isinstance(expression, str):
      raise errors.UserError(f"expression {expression!r}: expected a sentence")
  return expressions


def _check_threshold(threshold: float) -> None:
  if not isinstance(threshold, numbers.Real) or not 0 < threshold < 1:
    raise errors.UserError(
      f"threshold {threshold!r}: expected a probability in (0, 1)"
    )


def _check_window(window: int | None) -> None:
  if window is None:
    return
  if not isinstance(window, numbers.Integral) or window < 1:
    raise errors.UserError(
      f"window {window!r}: expected a whole number of frames, at least 1 frame"
    )
