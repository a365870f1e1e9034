"""Clips from single images."""

from __future__ import annotations

import dataclasses

import numpy as np

from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.ops import base, warp


@dataclasses.dataclass(frozen=True)
class PseudoVideo(base.Op):
  """The image and independent random warps of it, in random order.

  Boxes, if any, are dropped: those of the warped masks are to be taken.

  Attributes:
    num_frames: T of the result.
  """

  num_frames: int

  def __call__(self, example, seed):
    image, objects = example["frames"][0], example["masks"][:, 0]
    random = seeds.generator(*seed)
    frames = np.empty((self.num_frames, *image.shape), np.uint8)
    masks = np.empty((len(objects), self.num_frames, *image.shape[:2]), bool)
    places = random.permutation(self.num_frames)
    frames[places[0]], masks[:, places[0]] = image, objects
    for place in places[1:]:
      frames[place], masks[:, place] = warp.apply(
        image, objects, warp.draw(random)
      )
    result = {
      **example,
      "frames": frames,
      "masks": masks,
      "annotated": np.arange(self.num_frames, dtype=np.int32),
    }
    result.pop("boxes", None)
    return result


@dataclasses.dataclass(frozen=True)
class DropSlim(base.Op):
  """Makes the object of too slim an image invalid, so that another sample is
  drawn: where the short side is below `short` if the long one is `long`."""

  short: int = 200
  long: int = 640

  def __call__(self, example, seed):
    del seed
    low, high = sorted(example["size"])
    if low * self.long >= self.short * high:
      return dict(example)
    return {
      **example,
      "boxes": np.zeros_like(example["boxes"]),
      "valid": np.zeros_like(example["valid"]),
    }
