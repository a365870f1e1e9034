"""Inputs of model benchmarks: sizes, a video, a checkpoint."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from sgmg_jax import errors, tokenizer, types
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native, random_weights
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.model import variants
from sgmg_jax.pictures import video_writer

BUNDLED = "refshapes-mini"


def check(variant: str, height: int, width: int) -> None:
  """Refuse what the model cannot run.

  Raises:
    UserError: no such variant, or frames of height x width are too small.
  """
  variants.get_variant(variant)
  if min(height, width) < types.MIN_PADDED_SIDE:
    raise errors.UserError(
      f"frames of {height}x{width}: the model needs at least "
      f"{types.MIN_PADDED_SIDE} pixels a side"
    )


def write_video(
  path: str | os.PathLike, frames: int, height: int, width: int
) -> None:
  """A RefShapes clip as an mp4."""
  clip = dataset.generate_clip(
    "test", 0, num_frames=frames, height=height, width=width
  )
  with video_writer.VideoWriter(path, fps=6) as writer:
    for frame in clip.frames:
      writer.write(frame)


def checkpoint(name: str, height: int, width: int) -> native.Checkpoint:
  """Random weights of a variant in half precision, and the bundled words.

  Args:
    name: of the variant, whose vocabulary grows where it is too small.
    height, width: of the frames, which are then left at their size.

  Raises:
    UserError: no such variant.
  """
  words = tokenizer.SavedTokenizer(native.PRETRAINED / BUNDLED / "tokenizer")
  variant = variants.get_variant(name)
  if variant.vocab_size < len(words):
    variant = dataclasses.replace(variant, vocab_size=len(words))
  card = card_lib.make(
    variant,
    name=name,
    source={"made": "random weights"},
    licence="none",
    preprocess={
      "short_side": min(height, width),
      "long_side": max(height, width),
      "window": 36,
    },
  )
  params = random_weights.make(variant, np.float16)
  return native.Checkpoint(params, variant, card, words)
