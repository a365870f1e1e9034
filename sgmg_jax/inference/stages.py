"""The stages of inference: prepare on the host, run on a device, finish.

A predictor goes through them in a row; an evaluation calls each from threads
of its own, so that the device waits for nobody.
"""

from __future__ import annotations

import dataclasses
import logging
import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import errors, types
from sgmg_jax import precision as precision_lib
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.inference import expression_groups as groups_lib
from sgmg_jax.inference import (
  memory_estimate,
  postprocess,
  preprocess,
  programs,
)
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.inference import windows as windows_lib
from sgmg_jax.inference.video_reader import TimedFrame

# Sentences that go through SgMg together, by default; on a CPU more than one
# are no faster.
GROUP: Final = 8


@dataclasses.dataclass(frozen=True)
class PreparedClip:
  """Frames as the model takes them.

  Attributes:
    start: number of frames in the clips before.
    length: T, the number of frames.
    pixels: uint8[1, bucket, padded h, padded w, 3].
    frames: T frames as they were read.
  """

  start: int
  length: int
  geometry: preprocess.Geometry
  pixels: np.ndarray = dataclasses.field(repr=False)
  frames: Sequence[TimedFrame] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class TextGroup:
  """Encoded sentences of a group."""

  group: groups_lib.Group
  features: types.TextFeatures

  def at(self, positions: np.ndarray) -> TextGroup:
    """The same group, of sentences at these positions of a longer list."""
    positions = positions[self.group.positions]
    group = dataclasses.replace(self.group, positions=positions)
    return dataclasses.replace(self, group=group)


@dataclasses.dataclass(frozen=True)
class Answer:
  """What the model says of a clip and a group of G sentences.

  Attributes:
    group: which they are, and in which rows.
    logits: float32[G, bucket, padded h, padded w] of the best query's masks.
    scores: float32[G, bucket], NaN where a logit is not finite.
    boxes: float32[G, bucket, 4], (cx, cy, w, h) over the unpadded clip.
  """

  group: groups_lib.Group
  logits: Any
  scores: Any
  boxes: Any

  def ready(self) -> Answer:
    """Wait until the device is done."""
    jax.block_until_ready((self.logits, self.scores, self.boxes))
    return self


class Stages:
  """A checkpoint on a device.

  Compiled programs are shared by all of the same sizes. They do not depend on
  the number of sentences (those of Fast SgMg are for a few numbers) or, within
  a bucket, on the number of frames. Every
  method may be called from any thread.

  Attributes:
    params: parameters on the device.
    dtype: of computation.
    precision: of float32 products.
    preprocess: sides of frames by task, and the window.
    max_group: of Fast SgMg, most sentences that it sees together; 0: the model
      sees each alone.
    device: where it runs; None: JAX's default.
  """

  def __init__(
    self,
    checkpoint: native.Checkpoint,
    dtype: Any = jnp.float32,
    precision: precision_lib.Policy = "highest",
    *,
    device: jax.Device | None = None,
    on_truncation: Callable[[str], None] = tokenizer_lib.warn,
  ):
    self.card = checkpoint.card
    self.name = checkpoint.card["name"]
    self.variant = checkpoint.variant
    self.dtype = _float(dtype)
    self.precision = precision_lib.check(precision)
    self.preprocess = card_lib.preprocess_of(checkpoint.card, self.name)
    self.max_group = card_lib.max_group_of(checkpoint.card, self.name)
    self.device = device
    self._tokenizer = checkpoint.tokenizer
    self._on_truncation = on_truncation
    # Saved in half precision, parameters are still computed with as float32.
    # Cast on the host: on the device each shape would be compiled.
    self.params = jax.device_put(
      jax.tree.map(lambda x: np.asarray(x, np.float32), checkpoint.params),
      device,
    )
    self.programs = programs.compiled(
      checkpoint.variant, self.dtype, self.precision
    )

  def prepare(
    self,
    video: Any,
    *,
    window: int | None = None,
    whole: bool = True,
    expressions: int = 1,
    group: int = 1,
    free: memory_estimate.Free | None = None,
  ) -> Iterator[PreparedClip]:
    """Decode, resize and pad a video, clip by clip.

    Args:
      video: any source that `video.open_video` takes.
      window: frames of a clip; None: the whole video where it fits into
        memory, else the checkpoint's window.
      whole: whether the whole video may be one clip.
      expressions: number of sentences that will be asked, for the estimate of
        memory.
      group: of them that go through the model together.
      free: memory; None: as much as is now. Who computes another video
        meanwhile gives what was free before.

    Raises:
      UserError: a bad video.
    """
    reader = video_lib.open_video(video)
    geometry = self.geometry(reader)
    # One measurement, before this video itself takes memory.
    free = free or memory_estimate.free(self.device)
    limit = 0
    if whole and window is None:
      limit = memory_estimate.most_frames(
        self.variant,
        geometry,
        reader.num_frames,
        dtype=self.dtype,
        expressions=expressions,
        group=group,
        free=free,
      )
    pairs = (
      (frame, preprocess.resize_frame(frame.pixels, geometry))
      for frame in reader.timed()
    )
    window = self.preprocess["window"] if window is None else window
    if reader.num_frames:
      length = min(window, reader.num_frames)
      self._warn_of_memory(geometry, length, group, free.device)
    start = 0
    for clip in windows_lib.windows(pairs, window, limit):
      frames, resized = map(list, zip(*clip))
      pixels = preprocess.pad_clip(resized, geometry)
      yield PreparedClip(start, len(frames), geometry, pixels, frames)
      start += len(frames)

  def geometry(self, reader: video_lib.VideoReader) -> preprocess.Geometry:
    """Sizes of a video; the model sees square pixels, masks have the stored
    size."""
    sides = self.preprocess["video"]
    geometry = preprocess.plan_geometry(*reader.shown_size, **sides)
    return dataclasses.replace(geometry, original=(reader.height, reader.width))

  def encode_clip(self, clip: PreparedClip) -> types.VideoFeatures:
    """Run what does not depend on a sentence."""
    return self.programs.encode_video(
      self.params,
      clip.pixels,
      np.array([clip.geometry.size], np.int32),
      np.int32(clip.length),
    )

  def group_size(self, group: int | None) -> int:
    """Check the number of sentences that go through the model together.

    Args:
      group: None: all that the model may see together; of SgMg, `GROUP`, or
        one on a CPU.

    Raises:
      UserError: no such number.
    """
    if group is None:
      device = self.device or jax.local_devices()[0]
      return self.max_group or (1 if device.platform == "cpu" else GROUP)
    if not isinstance(group, numbers.Integral) or group < 1:
      raise errors.UserError(
        f"group {group!r}: expected a whole number of sentences, at least 1"
      )
    if self.max_group and group > self.max_group:
      raise errors.UserError(
        f"group {group}: {self.name} sees at most {self.max_group} sentences "
        "together"
      )
    return int(group)

  def encode_texts(
    self, expressions: Sequence[str], *, group: int | None = None
  ) -> list[TextGroup]:
    """Encode sentences in groups.

    Args:
      expressions: E sentences.
      group: most sentences of a group, see `group_size`. Of SgMg all groups
        are as large, and with one each sentence has a program for its length.

    Raises:
      UserError: no sentence, an empty one, or no such group.
    """
    if not expressions:
      raise errors.UserError("no expressions: expected at least one sentence")
    limit = self.variant.max_tokens
    split = groups_lib.together if self.max_group else groups_lib.of_one_size
    texts = []
    for some in split(expressions, self.group_size(group)):
      tokens, valid = tokenizer_lib.encode(
        self._tokenizer, some.sentences, limit, self._on_truncation
      )
      length = min(_token_bucket(valid.sum(1).max()), limit)
      # Rows without words: Fast SgMg does not see what only fills a group.
      filling = [(0, some.padded - len(tokens)), (0, 0)]
      tokens, valid = (np.pad(x[:, :length], filling) for x in (tokens, valid))
      features = self.programs.encode_text(self.params, tokens, valid)
      texts.append(TextGroup(some, features))
    return texts

  def ask(
    self,
    features: types.VideoFeatures,
    texts: Sequence[TextGroup],
    program: programs.BoundedJit | None = None,
  ) -> Iterator[Answer]:
    """Answer each group of sentences about an encoded clip.

    Args:
      program: of `programs` that answers; None: `query`.
    """
    if program is None:
      program = self.programs.query
    for text in texts:
      logits, scores, boxes = program(self.params, features, text.features)
      yield Answer(text.group, logits, scores, boxes)

  def finish(
    self, answer: Answer, clip: PreparedClip, *, threshold: float = 0.5
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks, scores and boxes of E sentences at the video's own size.

    They are those at the `positions` of the answer's group.

    Args:
      clip: that it is about; only its sizes matter.
      threshold: probability that a mask pixel exceeds.

    Returns:
      bool[E, T, H, W], float32[E, T] and float32[E, T, 4], (x1, y1, x2, y2) in
      pixels.

    Raises:
      UserError: the model's numbers are not finite.
    """
    masks, scores, boxes = self.masks(
      answer, clip.length, clip.geometry, threshold
    )
    boxes = postprocess.boxes_in_pixels(boxes, clip.geometry.original)
    return masks, scores, boxes

  def masks(
    self,
    answer: Answer,
    length: int | None,
    geometry: preprocess.Geometry,
    threshold: float,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks and scores as of `finish`, and boxes as they are.

    Args:
      length: T; None: all.
    """
    logits, scores, boxes = self._fetch(answer, length)
    shape = *logits.shape[:2], *geometry.original
    masks, finite = postprocess.threshold_masks(
      logits.reshape(-1, *logits.shape[2:]), geometry, threshold
    )
    self._check_finite(finite, scores, boxes)
    found = masks.reshape(shape), scores, boxes
    return tuple(map(answer.group.answers, found))

  def probabilities(self, answer: Answer, clip: PreparedClip) -> np.ndarray:
    """Mask probabilities float32[E, T, H, W] at the video's own size.

    Args, Raises: as `finish`.
    """
    logits, scores, boxes = self._fetch(answer, clip.length)
    geometry = clip.geometry
    logits = postprocess.upsample_logits(
      logits, geometry.size, geometry.original
    )
    self._check_finite(np.isfinite(logits).all(), scores, boxes)
    return answer.group.answers(postprocess.sigmoid(logits))

  def _fetch(
    self, answer: Answer, length: int | None
  ) -> tuple[np.ndarray, ...]:
    return tuple(
      np.asarray(x)[: len(answer.group.sentences), :length]
      for x in (answer.logits, answer.scores, answer.boxes)
    )

  def _check_finite(self, masks_are: bool, *others: np.ndarray) -> None:
    if not (masks_are and all(np.isfinite(x).all() for x in others)):
      raise errors.UserError(
        f"checkpoint {self.name}: its scores or mask logits are not finite "
        f"({self.dtype}): expected finite weights that do not overflow"
      )

  def _warn_of_memory(self, geometry, num_frames, group, free) -> None:
    need = memory_estimate.pass_bytes(
      self.variant, geometry.padded, num_frames, self.dtype, group
    )
    if need > free:
      logging.warning(
        "%d frames of %dx%d at once need about %.1f GB of memory, %.1f GB are "
        "free: a smaller window needs less",
        num_frames,
        *geometry.size[::-1],
        need / 1e9,
        free / 1e9,
      )


def in_order(answers: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
  """Join what groups answered, in the order in which sentences were asked.

  Args:
    answers: of each group, the positions of its sentences, then arrays with
      a row for each.
  """
  positions, *fields = map(np.concatenate, zip(*answers))
  order = np.argsort(positions)
  if np.array_equal(order, positions):
    return fields
  return [field[order] for field in fields]


def _float(dtype: Any) -> str:
  try:
    found = jnp.dtype(dtype)
  except TypeError:
    found = None
  if found is None or not jnp.issubdtype(found, jnp.floating):
    raise errors.UserError(
      f"dtype: expected float32 or bfloat16, got {dtype!r}"
    )
  return found.name


def _token_bucket(num_tokens: int) -> int:
  """16, 32, 64, …: few lengths, few compilations."""
  return max(16, 1 << (int(num_tokens) - 1).bit_length())
