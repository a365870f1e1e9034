"""Ops on sentences, and the sentence of a mirrored scene."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

from sgmg_jax.input_pipeline.ops import base

# "leftmost", "top-left", "bottomleft", but not "bright", "upright" or
# "copyright", whose substring is no side.
_SIDE = re.compile(
  r"(?<![a-z])"
  r"((?:far|top|upper|bottom|lower|down|front|back|mid|middle|center)?)"
  r"(left|right)"
  r"(?=(?:most|wards?|hand|handed|side|er|est|ish|y)?(?![a-z]))",
  re.IGNORECASE,
)
_OTHER = {"left": "right", "right": "left"}


def normalise(text: str) -> str:
  """Lower case, single blanks, none at the ends."""
  return " ".join(text.lower().split())


def swap_sides(text: str) -> str:
  """The sentence about the mirrored scene: words of left and right swap.

  Case stays. A sense that is no side is not told apart ("the man who left").
  """

  def swap(match):
    prefix, side = match.groups()
    other = _OTHER[side.lower()]
    if side.isupper():
      other = other.upper()
    elif side[0].isupper():
      other = other.capitalize()
    return prefix + other

  return _SIDE.sub(swap, text)


def swap_substrings(text: str, placeholder: str = "@") -> str:
  """The official swap: also inside words ("bright" becomes "bleft").

  A literal placeholder becomes "right"; it is "@" for clips and "[TMP]" for
  images.
  """
  text = text.replace("left", placeholder)
  return text.replace("right", "left").replace(placeholder, "right")


@dataclasses.dataclass(frozen=True)
class NormaliseCaption(base.Op):
  """See `normalise`."""

  touches_frames: ClassVar[bool] = False

  def __call__(self, example, seed):
    del seed
    expressions = [normalise(text) for text in example["expressions"]]
    return {**example, "expressions": expressions}
