"""Clips with a sentence each that analyses look at."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.input_pipeline.refshapes import dataset


@dataclasses.dataclass(frozen=True)
class Example:
  """A clip and a sentence.

  Attributes:
    frames: uint8[T, H, W, 3].
    sentence: about one of its objects.
    masks: bool[T, H, W] of that object; None: unknown.
  """

  name: str
  frames: np.ndarray
  sentence: str
  masks: np.ndarray | None = None


def of_refshapes(
  count: int, *, num_frames: int = 6, side: int = 160
) -> list[Example]:
  """The first clips of the test split, with their first sentences."""
  examples = []
  for index in range(count):
    clip = dataset.generate_clip(
      "test", index, num_frames=num_frames, height=side, width=side
    )
    first = clip.expressions[0]
    masks = clip.masks[first.object_index]
    examples.append(Example(clip.name, clip.frames, first.text, masks))
  return examples


def of_videos(
  paths: Sequence[str], sentences: Sequence[str], *, num_frames: int = 6
) -> list[Example]:
  """The first frames of videos, with a sentence each.

  Raises:
    UserError: a video cannot be read, or there are more or fewer sentences.
  """
  if len(paths) != len(sentences):
    raise UserError(
      f"--sentences: expected one for each of {len(paths)} videos, got "
      f"{len(sentences)}"
    )
  examples = []
  for path, sentence in zip(paths, sentences):
    frames = itertools.islice(video_lib.open_video(path).timed(), num_frames)
    pixels = np.stack([frame.pixels for frame in frames])
    examples.append(Example(pathlib.Path(path).name, pixels, sentence))
  return examples
