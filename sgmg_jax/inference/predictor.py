"""Predictor, the interface for users: segment videos by sentences."""

from __future__ import annotations

import dataclasses
import logging
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import compilation_cache, errors, types
from sgmg_jax import precision as precision_lib
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.inference import (
  memory,
  postprocess,
  preprocess,
  programs,
  results,
)
from sgmg_jax.inference import video as video_lib
from sgmg_jax.inference import windows as windows_lib

# A clip runs in one pass up to this many frames and bytes of decoded frames,
# as far as `memory` allows; longer ones run in windows.
_WHOLE_FRAMES: Final = 128
_WHOLE_BYTES: Final = 2**30

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
    video: where the frames came from.
    geometry: its sizes.
    clips: features of each window and its number of frames.
    times: seconds of the T frames since the first.
    numbers: T frame numbers in the source.
  """

  video: video_lib.VideoReader
  geometry: preprocess.Geometry
  clips: list[tuple[types.VideoFeatures, int]] = dataclasses.field(repr=False)
  times: list[float] = dataclasses.field(repr=False)
  numbers: list[int] = dataclasses.field(repr=False)


class Predictor:
  """Segments videos by sentences with one checkpoint.

  Compiled programs are shared by all predictors of the same sizes, and do not
  depend on the number of sentences or, within a bucket, on the number of
  frames.
  """

  def __init__(
    self,
    checkpoint: native.Checkpoint,
    dtype: Any = jnp.float32,
    precision: precision_lib.Policy = "highest",
  ):
    self.card = checkpoint.card
    self.name = checkpoint.card["name"]
    self.variant = checkpoint.variant
    self._tokenizer = checkpoint.tokenizer
    # Saved in half precision, parameters are still computed with as float32.
    # Cast on the host: on the device each shape would be compiled.
    self._params = jax.device_put(
      jax.tree.map(lambda x: np.asarray(x, np.float32), checkpoint.params)
    )
    self._dtype = jnp.dtype(dtype).name
    self._programs = programs.compiled(
      checkpoint.variant, self._dtype, precision_lib.check(precision)
    )
    rules = card_lib.preprocess_of(checkpoint.card, self.name)
    # Whatever comes is taken for a video, a single picture too.
    self._sides = rules["video"]
    self._window = rules["window"]

  def segment(
    self,
    video: Any,
    expressions: Sequence[str],
    *,
    window: int | None = None,
    threshold: float = 0.5,
    progress: Progress | None = None,
  ) -> results.Segmentation:
    """Masks of every expression's object in every frame, in memory.

    Args:
      video: any source that `video.open_video` takes.
      expressions: E sentences, one object each.
      window: frames that the model sees at once; None: the whole clip where
        it fits into memory (`memory.pass_bytes` against `memory.free_bytes`;
        at most 128 frames and 1 GiB decoded), else the checkpoint's window.
        Which it was is logged.
      threshold: probability that a mask pixel exceeds.
      progress: called with 0 once all input is checked, then with the frames
        done since the last call; each sentence counts for a part of a frame.

    Raises:
      UserError: a bad video, expression, window or threshold.
    """
    reader = video_lib.open_video(video)
    expressions = _as_list(expressions)
    texts = self._encode_texts(expressions)
    steps = self._run(reader, texts, window, True, threshold, progress)
    return self._collect(reader, expressions, threshold, steps)

  def segment_to_folder(
    self,
    video: Any,
    expressions: Sequence[str],
    out: str | os.PathLike,
    *,
    window: int | None = None,
    threshold: float = 0.5,
    overwrite: bool = False,
    progress: Progress | None = None,
  ) -> results.Summary:
    """`segment` and `save` in memory that does not grow with the video.

    `results` describes the files.
    """
    reader = video_lib.open_video(video)
    expressions = _as_list(expressions)
    texts = self._encode_texts(expressions)
    steps = self._run(reader, texts, window, True, threshold, progress)
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
  ) -> Iterator[results.WindowResult]:
    """One result per window of a video without end, in bounded memory.

    Args:
      frames: any source; typically an iterator of uint8[H, W, 3] RGB frames.
      expressions: E sentences.
      window: frames per result; None: the checkpoint's.
      threshold: probability that a mask pixel exceeds.
    """
    reader = video_lib.open_video(frames)
    expressions = _as_list(expressions)
    texts = self._encode_texts(expressions)
    return self._run(reader, texts, window, False, threshold, None)

  def encode(self, video: Any, *, window: int | None = None) -> EncodedVideo:
    """Run everything that does not depend on a sentence."""
    reader = video_lib.open_video(video)
    geometry = self._geometry(reader)
    clips, times, numbers = [], [], []
    for frames, resized in self._clips(reader, geometry, window, True):
      clips.append((self._encode_clip(resized, geometry), len(resized)))
      times += [frame.time for frame in frames]
      numbers += [frame.number for frame in frames]
    return EncodedVideo(reader, geometry, clips, times, numbers)

  def query(
    self,
    encoded: EncodedVideo,
    expressions: Sequence[str],
    *,
    threshold: float = 0.5,
  ) -> results.Segmentation:
    """`segment` an encoded video, with the same numbers.

    Args:
      encoded: what `encode` returned.
      expressions: E sentences, one object each.
      threshold: probability that a mask pixel exceeds.

    Raises:
      UserError: `encoded` is something else, or as `segment`.
    """
    if not isinstance(encoded, EncodedVideo):
      raise errors.UserError(
        f"query of {type(encoded).__name__}: expected what encode returned, as "
        "in query(encode(video), sentences); or segment(video, sentences)"
      )
    expressions = _as_list(expressions)
    texts = self._encode_texts(expressions)
    _check_threshold(threshold)
    steps, start = [], 0
    for features, length in encoded.clips:
      outputs = [
        self._query(features, text, length, encoded.geometry, threshold)
        for text in texts
      ]
      here = slice(start, start + length)
      times, numbers = encoded.times[here], encoded.numbers[here]
      steps.append(
        results.WindowResult(start, [], *_stack(outputs), times, numbers)
      )
      start += length
    return self._collect(encoded.video, expressions, threshold, steps)

  def _run(
    self, reader, texts, window, whole, threshold, progress
  ) -> Iterator[results.WindowResult]:
    _check_threshold(threshold)
    _check_window(window)
    return self._steps(reader, texts, window, whole, threshold, progress)

  def _steps(self, reader, texts, window, whole, threshold, progress):
    geometry = self._geometry(reader)
    if progress:
      progress(0.0)
    start = 0
    for frames, resized in self._clips(reader, geometry, window, whole):
      length = len(frames)
      # The encoding counts as one more sentence.
      share = length / (len(texts) + 1)
      features = self._encode_clip(resized, geometry)
      if progress:
        jax.block_until_ready(features)
        progress(share)
      outputs = []
      for text in texts:
        outputs.append(self._query(features, text, length, geometry, threshold))
        if progress:
          progress(share)
      pixels, times, numbers = map(list, zip(*frames))
      yield results.WindowResult(
        start, pixels, *_stack(outputs), times, numbers
      )
      start += length
    if progress and reader.skipped:
      progress(len(reader.skipped))

  def _clips(self, reader, geometry, window, whole):
    """Yield (timed original frames, resized frames) of each window."""
    whole_limit = 0
    if whole and window is None:
      whole_limit = self._whole_limit(geometry)
    pairs = (
      (frame, preprocess.resize_frame(frame.pixels, geometry))
      for frame in reader.timed()
    )
    window = self._window if window is None else window
    if reader.num_frames:
      self._warn_of_memory(geometry, min(window, reader.num_frames))
    for clip in windows_lib.windows(pairs, window, whole_limit):
      frames, resized = map(list, zip(*clip))
      yield frames, resized

  def _whole_limit(self, geometry: preprocess.Geometry) -> int:
    """Most frames of this size that run in one pass."""
    frame_bytes = 3 * geometry.original[0] * geometry.original[1]
    limit = min(_WHOLE_FRAMES, _WHOLE_BYTES // frame_bytes)
    return memory.most_frames(self.variant, geometry.padded, limit, self._dtype)

  def _warn_of_memory(self, geometry, num_frames: int) -> None:
    need = memory.pass_bytes(
      self.variant, geometry.padded, num_frames, self._dtype
    )
    free = memory.free_bytes()
    if need > free:
      logging.warning(
        "%d frames of %dx%d at once need about %.1f GB of memory, %.1f GB are "
        "free: a smaller window needs less",
        num_frames,
        *geometry.size[::-1],
        need / 1e9,
        free / 1e9,
      )

  def _geometry(self, reader: video_lib.VideoReader) -> preprocess.Geometry:
    geometry = preprocess.plan_geometry(*reader.shown_size, **self._sides)
    # The model sees square pixels; masks and boxes have the stored size.
    stored = reader.height, reader.width
    return dataclasses.replace(geometry, original=stored)

  def _encode_clip(self, resized, geometry) -> types.VideoFeatures:
    return self._programs.encode_video(
      self._params,
      preprocess.pad_clip(resized, geometry),
      np.array([geometry.size], np.int32),
      np.int32(len(resized)),
    )

  def _encode_texts(self, expressions) -> list[types.TextFeatures]:
    if not expressions:
      raise errors.UserError("no expressions: expected at least one sentence")
    limit = self.variant.max_tokens
    tokens, valid = tokenizer_lib.encode(self._tokenizer, expressions, limit)
    texts = []
    for row, row_valid in zip(tokens, valid):
      length = min(_token_bucket(row_valid.sum()), limit)
      texts.append(
        self._programs.encode_text(
          self._params, row[None, :length], row_valid[None, :length]
        )
      )
    return texts

  def _query(self, features, text, length, geometry, threshold):
    """Masks, scores and boxes of one expression in one window."""
    logits, scores, boxes = (
      np.asarray(x)[:length]
      for x in self._programs.query(self._params, features, text)
    )
    masks, finite = postprocess.threshold_masks(logits, geometry, threshold)
    if not (finite and np.isfinite(scores).all() and np.isfinite(boxes).all()):
      raise errors.UserError(
        f"checkpoint {self.name}: its scores or mask logits are not finite "
        f"({self._dtype}): expected finite weights that do not overflow"
      )
    boxes = postprocess.boxes_in_pixels(boxes, geometry.original)
    return masks, scores, boxes

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


def _stack(outputs: Iterable[tuple]) -> tuple[np.ndarray, ...]:
  return tuple(np.stack(field) for field in zip(*outputs))


def _token_bucket(num_tokens: int) -> int:
  """16, 32, 64, …: few lengths, few compilations."""
  return max(16, 1 << (int(num_tokens) - 1).bit_length())


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
