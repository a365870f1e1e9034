"""RefShapes as a source: clips are drawn when asked for, nothing is stored."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Sequence

import numpy as np
import PIL.Image

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.refshapes import stream

NUM_CLIPS = {"train": 10_000, "val": 500, "test": 500}


class RefShapes(source_lib.Source):
  """A split of RefShapes with a fixed number of expressions per clip.

  A clip's sentences are known only once it has been drawn, which takes tens
  of milliseconds, and their number varies. So that the set can be planned
  without drawing it, every clip gives `expressions_per_clip` of them, spread
  over its objects; where it has fewer they repeat. For evaluation all sentences
  are listed instead, in their order, which draws every clip once.
  """

  def __init__(
    self,
    path: str | os.PathLike | None,
    split: str,
    *,
    num_clips: int | None = None,
    expressions_per_clip: int = 4,
    num_frames: int = 8,
    height: int = 160,
    width: int = 160,
    cached_clips: int = 16,
  ):
    """Check the arguments; draw nothing yet.

    Args:
      path: unused, clips come from their index alone.
      split: "train", "val" or "test".
      num_clips: of the split; None for 10,000 in train and 500 elsewhere.
      expressions_per_clip: sentences of each clip; 0: all that it has.
      num_frames, height, width: as for `dataset.generate_clip`.
      cached_clips: kept in memory, those last used.

    Raises:
      UserError: an unknown split or an impossible number.
    """
    del path  # Unused.
    if split not in NUM_CLIPS:
      raise UserError(
        f"refshapes split {split!r}: expected one of {sorted(NUM_CLIPS)}"
      )
    count = NUM_CLIPS[split] if num_clips is None else num_clips
    numbers = {
      "num_clips": count,
      "expressions_per_clip": expressions_per_clip,
      "num_frames": num_frames,
      "height": height,
      "width": width,
      "cached_clips": cached_clips,
    }
    for name, number in numbers.items():
      if not isinstance(number, int):
        raise UserError(f"refshapes {name} {number!r}: expected an integer")
    if min(count, num_frames, cached_clips, expressions_per_clip + 1) < 1:
      raise UserError(
        f"refshapes: {count} clips of {num_frames} frames and "
        f"{expressions_per_clip} expressions, {cached_clips} cached; expected "
        "1 or more of each, or 0 expressions for all"
      )
    self.name = "refshapes"
    self.split = split
    self._size = (height, width)
    self._frames = tuple(f"{t:05d}" for t in range(num_frames))
    # Clips are named as by the generator.
    self._indices = {f"{split}_{i:06d}": i for i in range(count)}
    draw = functools.partial(
      dataset.generate_clip,
      split,
      num_frames=num_frames,
      height=height,
      width=width,
    )
    self._draw = functools.lru_cache(cached_clips)(draw)
    if expressions_per_clip:
      self.expressions = tuple(
        _Sentence(self, name, k)
        for name in self._indices
        for k in range(expressions_per_clip)
      )
    else:
      self.expressions = tuple(
        source_lib.Expression(name, str(k), e.text, (e.object_index + 1,))
        for name in self._indices
        for k, e in enumerate(self.clip(name).expressions)
      )

  def clip(self, video: str) -> dataset.Clip:
    """The named clip.

    Raises:
      UserError: no such clip.
    """
    if video not in self._indices:
      raise UserError(f"refshapes {self.split}: no video {video!r}")
    return self._draw(self._indices[video])

  def video(self, name: str) -> source_lib.Video:
    if name not in self._indices:
      raise UserError(f"refshapes {self.split}: no video {name!r}")
    return source_lib.Video(name, self._frames, self._size)

  def encoded_frame(self, video: str, index: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(self.clip(video).frames[index]).save(file, "PNG")
    return file.getvalue()

  def read_images(
    self, video: str, indices: Sequence[int]
  ) -> list[PIL.Image.Image]:
    return [PIL.Image.fromarray(x) for x in self.read_frames(video, indices)]

  def read_frames(self, video: str, indices: Sequence[int]) -> np.ndarray:
    # As drawn, without coding and decoding.
    return self.clip(video).frames[list(indices)]

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    masks = self.clip(video).masks[:, index]
    return {i + 1: mask for i, mask in enumerate(masks) if mask.any()}


class _Sentence(source_lib.Expression):
  """An expression whose clip is drawn when its words are asked for."""

  def __init__(self, source: RefShapes, video: str, position: int):
    # The base class is frozen; text and object_ids are properties here.
    object.__setattr__(self, "_source", source)
    object.__setattr__(self, "_position", position)
    object.__setattr__(self, "video", video)
    object.__setattr__(self, "id", str(position))

  @property
  def text(self) -> str:
    return self._sentence().text

  @property
  def object_ids(self) -> tuple[int, ...]:
    return (self._sentence().object_index + 1,)

  def _sentence(self) -> dataset.Expression:
    sentences = self._source.clip(self.video).expressions
    order = stream.spread([s.object_index for s in sentences])
    return sentences[order[self._position % len(order)]]
