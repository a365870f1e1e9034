"""Choose a mask colour for each expression, in contrast to its object."""

from __future__ import annotations

import colorsys
from typing import Final

import numpy as np

Colour = tuple[int, int, int]

# Bright, and told apart by most colour-blind people when neighbours.
PALETTE: Final = (
  (255, 89, 64),
  (51, 153, 255),
  (255, 202, 40),
  (38, 198, 108),
  (213, 84, 232),
  (0, 214, 214),
  (255, 140, 0),
  (150, 117, 255),
)
# Contrast from which a colour is plain to see on an object. Those of the
# palette have about this on grey; orange on brown has less.
ENOUGH: Final = 0.6
_MAX_PIXELS: Final = 2000


def colour_of(index: int) -> Colour:
  """Colour of expression `index` on grey; never repeats."""
  if index < len(PALETTE):
    return PALETTE[index]
  # Golden-ratio steps keep any number of hues apart.
  hue = (0.07 + 0.618034 * index) % 1.0
  return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, 1.0))


def contrast(colour: Colour, pixels: np.ndarray) -> float:
  """Distance in hue and saturation, and a little in brightness.

  That of the pixels that are most alike, down to a third of them: an object may
  have stripes of another colour.

  Args:
    colour: RGB.
    pixels: uint8[N, 3].
  """
  difference = _opponent(np.array([colour])) - _opponent(pixels)
  return float(np.quantile(np.linalg.norm(difference, axis=-1), 1 / 3))


def _opponent(pixels: np.ndarray) -> np.ndarray:
  """Red against green, yellow against blue, and brightness, less important."""
  red, green, blue = np.moveaxis(pixels / 255.0, -1, 0)
  return np.stack(
    [red - green, (red + green) / 2 - blue, (red + green + blue) / 6], -1
  )


class Colours:
  """Each expression's colour, chosen in the first frame with a mask of it.

  That is its own of the palette, if the object is of another colour, else the
  free one with the strongest contrast.
  """

  def __init__(self, count: int):
    self._chosen: list[Colour | None] = [None] * count
    self._candidates = [colour_of(i) for i in range(max(count, len(PALETTE)))]

  def __getitem__(self, index: int) -> Colour:
    return self._shown()[index]

  def _shown(self) -> list[Colour]:
    """Those not chosen yet are their own of the palette, or else a free one."""
    shown = list(self._chosen)
    waiting = [i for i, colour in enumerate(shown) if colour is None]
    for i in waiting:
      if (own := colour_of(i)) not in shown:
        shown[i] = own
    for i in waiting:
      if shown[i] is None:
        shown[i] = next(c for c in self._candidates if c not in shown)
    return shown

  def update(self, frame: np.ndarray, masks: np.ndarray) -> None:
    """Choose for the expressions that this frame shows first.

    Args:
      frame: uint8[H, W, 3].
      masks: bool[E, H, W].
    """
    for index, mask in enumerate(masks):
      if self._chosen[index] is None and mask.any():
        pixels = frame[mask]
        pixels = pixels[:: -(-len(pixels) // _MAX_PIXELS)]
        self._chosen[index] = self._choose(index, pixels)

  def _choose(self, index: int, pixels: np.ndarray) -> Colour:
    free = [c for c in self._candidates if c not in self._chosen]
    own = colour_of(index)
    if own in free and contrast(own, pixels) >= ENOUGH:
      return own
    return max(free, key=lambda colour: contrast(colour, pixels))
