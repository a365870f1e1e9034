"""Sampling and transforms of each data set, in training and evaluation.

The official SgMg pipelines. Where they are plainly wrong (sentences swapped
inside words, grey levels that wrap round, boxes one pixel off) the default is
right; `Quirks` brings each error back for reproduction. Normalising pixels
and boxes is left to the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.batches import buckets, clip_sampler
from sgmg_jax.input_pipeline.ops import (
  base,
  boxes,
  captions,
  flip,
  photometric,
  pseudo_video,
  resize,
  resize_crop,
)
from sgmg_jax.input_pipeline.sets import registry
from sgmg_jax.input_pipeline.sets.about import About

# Names of the sets whose clips may run backwards, and of images.
VIDEOS, IMAGES = (
  tuple(name for name, about in registry.ABOUT.items() if about.family == each)
  for each in ("videos", "images")
)

_SHORTS = (288, 320, 352, 392, 416, 448, 480, 512)
_VIDEO_SIZES = resize_crop.RandomResizeCrop(_SHORTS, 640)
_IMAGE_SIZES = resize_crop.RandomResizeCrop(
  tuple(range(480, 769, 32)),
  800,
  recrop_shorts=(296, 328, 360, 392, 416, 448, 480, 512),
)


@dataclasses.dataclass(frozen=True)
class Quirks:
  """Official errors of training to reproduce.

  Attributes:
    substring_caption_flip: a flip swaps left and right inside words too.
    flipped_box_offset: a flip moves boxes one pixel to the right of the
      mask, and those of invalid frames to the right edge.
    photometric_wraparound: grey levels outside 0..255 wrap round.
  """

  substring_caption_flip: bool = False
  flipped_box_offset: bool = False
  photometric_wraparound: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
  """Sampling and transforms that make an example of a sample.

  A sample's seed is any tuple of integers. Op i draws from (*seed, i), the
  choice of frames from (*seed, -1), that of expressions from (*seed, -2).

  Attributes:
    sampler: which clips there are, and their frames.
    resample: whether an expression whose object is valid in no frame is not
      used, and a sample without any other is replaced by another; never in
      evaluation. (`loader.DataSet` keeps sentences that have no object.)
  """

  sampler: clip_sampler.Sampler
  ops: tuple[base.Op, ...]
  resample: bool

  @property
  def takes_images(self) -> bool:
    """Whether frames may come as Pillow images, see `ops.base.Op`."""
    first = next((op for op in self.ops if op.touches_frames), None)
    return first is not None and first.takes_images

  def clip(
    self, sample: clip_sampler.Sample, length: int, seed: base.Seed
  ) -> clip_sampler.Clip:
    """Choose the frames of a sample of a video of `length` frames."""
    return self.sampler.clip(sample, length, seeds.generator(*seed, -1))

  def apply(self, example: base.Example, seed: base.Seed) -> dict[str, Any]:
    """Apply all ops, which make `boxes` and `valid`; keys: see `ops.base`."""
    for i, op in enumerate(self.ops):
      example = op(example, (*seed, i))
    return dict(example)

  def output_size(self, size: base.Size, seed: base.Seed) -> base.Size:
    """Compute the (height, width) that `apply` with this seed gives."""
    for i, op in enumerate(self.ops):
      size = op.output_size(size, (*seed, i))
    return size

  def accepts(self, example: base.Example) -> np.ndarray:
    """Tell which expressions of a transformed example are used: bool[E]."""
    return example["valid"].any(-1) | (not self.resample)


def get(
  name: str,
  phase: str,
  *,
  num_frames: int = 5,
  quirks: Quirks | None = None,
  reverse: float = 0.0,
  pseudo_video: bool = False,
  sizes: Mapping[str, Any] | None = None,
) -> Recipe:
  """Make the recipe of a data set.

  Args:
    name: one of `registry.NAMES`.
    phase: "train" or "eval".
    num_frames: T. Whole videos have their own.
    quirks: to reproduce in training.
    reverse: probability that a training clip of `VIDEOS` runs backwards with
      its sentence unchanged (0.3 in the official training on
      Ref-YouTube-VOS): wrong where sentences speak of motion.
    pseudo_video: makes clips of images, in training.
    sizes: fields of the resizing op to change, such as {"longest": 320}; of
      `RandomResizeCrop` in training, of `Resize` in evaluation.

  Raises:
    UserError: no such data set, phase or size; or no such recipe.
  """
  about = registry.about(name)
  if phase not in ("train", "eval"):
    raise UserError(f"phase {phase!r}: expected 'train' or 'eval'")
  if pseudo_video and (about.family != "images" or phase != "train"):
    raise UserError(
      f"pseudo_video: {name} ({phase}) has no images to train on, expected "
      f"one of {', '.join(IMAGES)}"
    )
  if phase == "eval":
    return _evaluation(about, num_frames, sizes)
  if about.splits[name] and "train" not in about.splits[name]:
    raise UserError(f"{name} is for evaluation only, expected phase 'eval'")
  quirks = quirks or Quirks()
  if pseudo_video:
    return _pseudo_video(num_frames, quirks, sizes)
  match about.family:
    case "videos":
      return _videos(about, num_frames, quirks, reverse, sizes)
    case "actors":
      return _actors(num_frames, quirks, sizes)
    case "images":
      return _images(quirks, sizes)
    case "drawn":
      return _drawn()


def clip_sizes(
  short_side: int,
) -> tuple[dict[str, Any], tuple[base.Size, ...]]:
  """Scale the sizes of training clips for a model meant for another size.

  Args:
    short_side: of the frames in use, pixels; the official one is 360.

  Returns:
    `sizes` of `get` for videos, the official ones in proportion; and padded
    (height, width), those that suit 16:9, one of which holds any such clip.
  """
  scaled = lambda n: max(1, round(n * short_side / 360))
  op = _VIDEO_SIZES
  sizes = {
    "shorts": tuple(map(scaled, op.shorts)),
    "longest": scaled(op.longest),
    "crop_shorts": tuple(map(scaled, op.crop_shorts)),
    "min_side": scaled(op.min_side),
    "max_side": scaled(op.max_side),
  }
  # Fewer than in the recipes of the paper: a fine-tuning is short, and each
  # size is compiled.
  op = dataclasses.replace(op, **sizes)
  chosen, _ = buckets.for_frames(op.output_size, {(720, 1280): 1.0}, most=6)
  return sizes, chosen


def _evaluation(about: About, num_frames, sizes):
  if about.family == "drawn":
    return dataclasses.replace(_drawn(), resample=False)
  whole, images = about.family == "videos", about.family == "images"
  if whole:
    sampler = clip_sampler.WholeVideos()
  else:
    sampler = clip_sampler.Windows(1 if images else num_frames)
  ops = [
    boxes.BoxesFromMasks(continuous=images),
    _resized(resize.Resize(360, None if whole else 640), sizes),
  ]
  if about.family == "actors":
    ops.insert(0, captions.NormaliseCaption())
  return Recipe(sampler, tuple(ops), resample=False)


def _videos(about: About, num_frames, quirks, reverse, sizes):
  sampler = clip_sampler.SpreadClips(
    num_frames, reverse=reverse, lone_anchor=about.lone_anchor
  )
  ops = (
    captions.NormaliseCaption(),
    boxes.BoxesFromMasks(),
    _resized(_VIDEO_SIZES, sizes),
    _flip(quirks),
    _photometric(quirks),
  )
  return Recipe(sampler, ops, resample=True)


def _actors(num_frames, quirks, sizes):
  ops = (
    captions.NormaliseCaption(),
    boxes.BoxesFromMasks(),
    _flip(quirks),
    _photometric(quirks),
    _resized(_VIDEO_SIZES, sizes),
  )
  return Recipe(clip_sampler.AnnotatedClips(num_frames), ops, resample=True)


def _images(quirks, sizes):
  ops = (
    # As the annotated boxes, which name edges: their flip needs no fix.
    boxes.BoxesFromMasks(continuous=True),
    flip.RandomFlip(
      substring_caption=quirks.substring_caption_flip,
      placeholder="[TMP]",
      continuous_boxes=True,
    ),
    _resized(_IMAGE_SIZES, sizes),
  )
  return Recipe(clip_sampler.Windows(1), ops, resample=True)


def _pseudo_video(num_frames, quirks, sizes):
  ops = (
    pseudo_video.PseudoVideo(num_frames),
    boxes.BoxesFromMasks(),
    pseudo_video.DropSlim(),
    _flip(quirks),
    _photometric(quirks),
    _resized(_VIDEO_SIZES, sizes),
    boxes.ZeroEmptyBoxes(),
  )
  return Recipe(clip_sampler.Windows(1), ops, resample=True)


def _drawn():
  # Whole and unchanged: sentences speak of first and last, of colours, and
  # of a motion that the clip shows from beginning to end.
  ops = (boxes.BoxesFromMasks(),)
  return Recipe(clip_sampler.WholeVideos(), ops, resample=True)


def _flip(quirks):
  return flip.RandomFlip(
    substring_caption=quirks.substring_caption_flip,
    continuous_boxes=quirks.flipped_box_offset,
  )


def _photometric(quirks):
  return photometric.RandomPhotometric(wrap=quirks.photometric_wraparound)


def _resized(op, sizes):
  sizes = {
    field: tuple(value) if isinstance(value, list) else value
    for field, value in (sizes or {}).items()
  }
  fields = [field.name for field in dataclasses.fields(op)]
  for name in sizes:
    if name not in fields:
      raise UserError(
        f"sizes.{name}: no such field, expected one of {', '.join(fields)}"
      )
  return dataclasses.replace(op, **sizes)
