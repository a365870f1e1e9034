"""Example frames with their mask, as small JPEGs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import PIL.Image
import scipy.ndimage
from sgmg_jax.input_pipeline.doctor import examination, plan

_WIDTH: Final = 320
_COLOUR: Final = np.array([255, 89, 64], np.float32)
_TINT: Final = 0.45
_QUALITY: Final = 85


def choose(
  examined: examination.Examined, number: int
) -> list[tuple[plan.Example, str]]:
  """Examples and what was found of each; half of them where something was.

  The rest are spread evenly over the data set, so that all splits show.
  """
  found = {}
  for finding in examined.findings:
    if finding.video and finding.severity != "info":
      found.setdefault(finding.video, f"{finding.code}: {finding.message}")
  examples = examined.plan.examples
  struck = _spread(
    [e for e in _first_of_videos(examples) if e.video in found], number // 2
  )
  sound = [e for e in _first_of_videos(examples) if e.video not in found]
  rest = _spread(sound, number - len(struck))
  return [(example, found.get(example.video, "")) for example in struck + rest]


def draw(example: plan.Example) -> bytes:
  """A JPEG of the frame, its mask tinted and outlined.

  Raises:
    Exception: whatever reading broken data raises.
  """
  frame, mask = example.load()
  if mask is not None and mask.shape != frame.shape[:2]:
    raise ValueError(f"mask {mask.shape}, frame {frame.shape[:2]}")
  height, width = frame.shape[:2]
  size = _WIDTH, max(1, round(height * _WIDTH / width))
  image = np.asarray(PIL.Image.fromarray(frame).resize(size), np.float32)
  if mask is not None:
    small = PIL.Image.fromarray(mask).resize(size, PIL.Image.Resampling.NEAREST)
    image = overlay(image, np.asarray(small))
  data = io.BytesIO()
  PIL.Image.fromarray(image.astype(np.uint8)).save(
    data, "JPEG", quality=_QUALITY
  )
  return data.getvalue()


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """float32[H, W, 3] with a tinted mask bool[H, W] and its outline."""
  image = image.copy()
  image[mask] += _TINT * (_COLOUR - image[mask])
  image[mask & ~scipy.ndimage.binary_erosion(mask, iterations=2)] = _COLOUR
  return image


def _first_of_videos(examples: Sequence[plan.Example]) -> list[plan.Example]:
  first = {}
  for example in examples:
    first.setdefault((example.split, example.video), example)
  return list(first.values())


def _spread(examples: list, number: int) -> list:
  if len(examples) <= number:
    return examples
  return [examples[i * len(examples) // number] for i in range(number)]
