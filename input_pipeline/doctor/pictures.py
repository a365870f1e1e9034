"""Example frames with their mask, as small JPEGs."""

from __future__ import annotations

import io
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
      known = found.get(finding.video)
      if known is None or (known.severity, finding.severity) == (
        "warning",
        "error",
      ):
        found[finding.video] = finding
  meant, sound = {}, {}
  for example in examined.plan.examples:
    key = example.split, example.video
    finding = found.get(example.video)
    if finding is None:
      sound.setdefault(key, example)
    elif key not in meant or example.expression == finding.expression:
      meant[key] = example
  struck = _spread(list(meant.values()), number // 2)
  rest = _spread(list(sound.values()), number - len(struck))
  notes = {video: f"{f.code}: {f.message}" for video, f in found.items()}
  return [(e, notes[e.video]) for e in struck] + [(e, "") for e in rest]


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


def _spread(examples: list, number: int) -> list:
  if len(examples) <= number:
    return examples
  return [examples[i * len(examples) // number] for i in range(number)]
