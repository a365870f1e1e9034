"""Training's choice between a resize and a resize, crop, resize."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.ops import base, boxes, crop, resize


@dataclasses.dataclass(frozen=True)
class _Plan:
  """Sizes of the steps; without a crop only the last."""

  before_crop: base.Size | None
  window: resize.Window | None
  final: base.Size


@dataclasses.dataclass(frozen=True)
class RandomResizeCrop(base.Op):
  """With even odds one of
    resize to one of `shorts`;
    resize to one of `crop_shorts`, without a limit of the long side, random
    crop, resize to one of `recrop_shorts`.
  All frames share the draws. Afterwards boxes without extent are invalid, as
  of `CheckBoxes`.

  Attributes:
    shorts: short sides, pixels.
    longest: limit of the long side at the end, pixels.
    recrop_shorts: short sides after the crop; as `shorts` if empty.
    crop_shorts: short sides before the crop.
    min_side: of the crop.
    max_side: of the crop.
  """

  shorts: tuple[int, ...]
  longest: int
  recrop_shorts: tuple[int, ...] = ()
  crop_shorts: tuple[int, ...] = (400, 500, 600)
  min_side: int = 384
  max_side: int = 600

  takes_images: ClassVar[bool] = True

  def _plan(self, size: base.Size, seed: base.Seed) -> _Plan:
    random = seeds.generator(*seed)
    before, window, shorts = None, None, self.shorts
    if random.random() < 0.5:
      before = resize.target_size(size, _choose(self.crop_shorts, random))
      window = crop.draw_window(before, self.min_side, self.max_side, random)
      size = window.size
      shorts = self.recrop_shorts or shorts
    short = _choose(shorts, random)
    return _Plan(before, window, resize.target_size(size, short, self.longest))

  def output_size(self, size, seed):
    return self._plan(size, seed).final

  def __call__(self, example, seed):
    plan = self._plan(example["size"], seed)
    if plan.window:
      example = crop.crop(example, plan.before_crop, plan.window)
    example = resize.resize(example, plan.final)
    return boxes.CheckBoxes()(example, seed)


def _choose(values, random):
  return values[int(random.integers(len(values)))]
