"""Draw results: tinted masks with captions, and contact sheets."""

from __future__ import annotations

import bisect
import functools
import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sgmg_jax.pictures import colours as colours_lib

_BACKGROUND: Final = (24, 24, 27)
_TEXT: Final = (235, 235, 235)
_MUTED: Final = (150, 150, 155)
_TINT: Final = 0.45
_NEAREST: Final = PIL.Image.Resampling.NEAREST
# Display width of a video: tiny ones are enlarged to read the captions, larger
# than Full HD ones reduced so that players cope.
_MIN_WIDTH: Final = 480
_MAX_SIDE: Final = 1920
_MAX_CAPTION_LINES: Final = 3
# Long side of the pictures in a contact sheet, and the space between them.
_THUMBNAIL: Final = 240
_GAP: Final = 6


@functools.cache
def _font(size: int) -> PIL.ImageFont.FreeTypeFont:
  return PIL.ImageFont.load_default(size=size)


def _resized_frame(frame: np.ndarray, size: tuple[int, int]):
  """uint8[H, W, 3] as a picture of (height, width)."""
  picture = PIL.Image.fromarray(frame)
  return picture.resize(size[::-1], PIL.Image.Resampling.BILINEAR)


def _resized_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """bool[H, W] at (height, width)."""
  if mask.shape == size:
    return mask
  picture = PIL.Image.fromarray(mask.astype(np.uint8))
  return np.asarray(picture.resize(size[::-1], _NEAREST), bool)


def draw_mask(
  picture: PIL.Image.Image, mask: np.ndarray, colour: colours_lib.Colour
) -> None:
  """Tint `mask` (bool[H, W]) in a picture of its size, in place.

  The contour is white outside and coloured inside, so that it also shows on
  an object of its own colour.
  """
  rows, columns = np.any(mask, 1).nonzero()[0], np.any(mask, 0).nonzero()[0]
  if not rows.size:
    return
  top, left = int(rows[0]), int(columns[0])
  mask = mask[top : rows[-1] + 1, left : columns[-1] + 1]
  thickness = max(1, round(min(picture.size) / 220))
  inner = _erode(mask, thickness)
  core = _erode(inner, thickness)
  layers = (
    (colour, mask, _TINT),
    (colour, inner & ~core, 1.0),
    ((255, 255, 255), mask & ~inner, 1.0),
  )
  for paint, where, opacity in layers:
    alpha = PIL.Image.fromarray(where * np.uint8(255 * opacity))
    picture.paste(paint, (left, top), alpha)


def draw_outline(
  picture: PIL.Image.Image, mask: np.ndarray, colour: colours_lib.Colour
) -> None:
  """Draw the contour of `mask` (bool[H, W]) in a picture of its size."""
  thickness = max(1, round(min(picture.size) / 110))
  edge = mask & ~_erode(mask, thickness)
  picture.paste(colour, (0, 0), PIL.Image.fromarray(edge * np.uint8(255)))


def _erode(mask: np.ndarray, radius: int) -> np.ndarray:
  """Square erosion; outside the array counts as background."""
  height, width = mask.shape
  padded = np.pad(mask, radius)
  rows = padded[:height].copy()
  for shift in range(1, 2 * radius + 1):
    rows &= padded[shift : shift + height]
  eroded = rows[:, :width].copy()
  for shift in range(1, 2 * radius + 1):
    eroded &= rows[:, shift : shift + width]
  return eroded


def display_size(height: int, width: int) -> tuple[int, int]:
  """(height, width) at which a video of this size is shown."""
  scale = min(1.0, _MAX_SIDE / max(height, width))
  if width < _MIN_WIDTH:
    scale = min(-(-_MIN_WIDTH // width), max(1, _MAX_SIDE // height))
  return max(1, round(height * scale)), max(1, round(width * scale))


class Overlay:
  """Draws every expression's mask into a frame, captions in a panel below.

  The panel keeps off the picture and has the same height in every frame.
  """

  def __init__(
    self,
    height: int,
    width: int,
    expressions: Sequence[str],
    colours: colours_lib.Colours | None = None,
  ):
    self._colours = colours or colours_lib.Colours(len(expressions))
    self.size = display_size(height, width)
    self._font = _font(max(15, round(self.size[1] / 48)))
    line = sum(self._font.getmetrics()) + 4
    margin = line // 2
    self._score_x = margin + line
    text_x = self._score_x + round(self._font.getlength("0.00")) + margin
    room = self.size[1] - text_x - margin
    wrapped = [_wrap(text, self._font, room) for text in expressions]
    self._baselines = []
    y = margin
    for lines in wrapped:
      self._baselines.append(y)
      y += line * len(lines)
    panel = PIL.Image.new("RGB", (self.size[1], y + margin), _BACKGROUND)
    draw = PIL.ImageDraw.Draw(panel)
    self._swatch = (margin, 3, margin + line - 8, line - 5)
    for y, lines in zip(self._baselines, wrapped):
      for row, text in enumerate(lines):
        draw.text((text_x, y + row * line), text, _TEXT, self._font)
    self._panel = panel

  def render(
    self, frame: np.ndarray, masks: np.ndarray, scores: np.ndarray
  ) -> np.ndarray:
    """One overlay frame.

    Args:
      frame: uint8[H, W, 3].
      masks: bool[E, H, W].
      scores: float[E].

    Returns:
      uint8[H', W', 3], the enlarged frame above the captions.
    """
    self._colours.update(frame, masks)
    picture = _resized_frame(frame, self.size)
    for index, mask in enumerate(masks):
      small = _resized_mask(mask, self.size)
      draw_mask(picture, small, self._colours[index])
    panel = self._panel.copy()
    draw = PIL.ImageDraw.Draw(panel)
    left, top, right, bottom = self._swatch
    for index, (y, score) in enumerate(zip(self._baselines, scores)):
      swatch = (left, y + top, right, y + bottom)
      draw.rectangle(swatch, fill=self._colours[index])
      draw.text((self._score_x, y), f"{score:.2f}", _MUTED, self._font)
    return np.concatenate([np.asarray(picture), np.asarray(panel)])


def _legible(text: str) -> str:
  """Text in characters of Pillow's built-in font: letters lose their accents,
  other scripts become question marks."""
  plain = unicodedata.normalize("NFKD", text)
  plain = "".join(c for c in plain if not unicodedata.combining(c))
  return plain.encode("ascii", "replace").decode()


def _wrap(text: str, font: PIL.ImageFont.FreeTypeFont, room: float):
  """Lines of `text` no wider than `room`; the last ends in … when cut."""
  lines = [""]
  # No letter is narrower than a pixel: more than this is never shown.
  shown = _legible(text)[: _MAX_CAPTION_LINES * int(room)]
  for word in shown.split():
    longer = f"{lines[-1]} {word}".strip()
    if font.getlength(longer) <= room or not lines[-1]:
      lines[-1] = longer
    else:
      lines.append(word)
  cut = len(lines) > _MAX_CAPTION_LINES
  lines = lines[:_MAX_CAPTION_LINES]
  return [
    shorten(text, font, room, cut and index == len(lines) - 1)
    for index, text in enumerate(lines)
  ]


def shorten(text: str, font, room: float, cut: bool = False) -> str:
  """`text` in `room` pixels, or as much of it as fits in front of "…", which
  stands where the text is cut already, too."""
  text, cut = text[: int(room)], cut or len(text) > int(room)
  if font.getlength(text + "…" * cut) <= room:
    return text + "…" * cut
  width = lambda length: font.getlength(f"{text[:length]}…")
  length = bisect.bisect_right(range(1, len(text)), room, key=width)
  return f"{text[:length]}…"


class ContactSheet:
  """A few frames of a video of any length, one row of masks per expression.

  Keeps thumbnails of at most `4 * columns` frames: every k-th, with k doubled
  whenever they become too many.
  """

  def __init__(
    self,
    height: int,
    width: int,
    expressions: Sequence[str],
    colours: colours_lib.Colours | None = None,
    columns: int = 5,
  ):
    self._colours = colours or colours_lib.Colours(len(expressions))
    # Very long or narrow frames keep at least 40 pixels on the short side.
    scale = _THUMBNAIL / max(height, width)
    self._size = tuple(max(40, round(s * scale)) for s in (height, width))
    self._expressions = list(expressions)
    self._columns = columns
    self._stride = 1
    self._index = 0
    # Each frame's seconds, pictures and scores.
    self._kept: list[tuple[float, list[PIL.Image.Image], np.ndarray]] = []

  def add(
    self,
    frame: np.ndarray,
    masks: np.ndarray,
    scores: np.ndarray,
    time: float,
  ) -> None:
    """Take the next frame, `time` seconds after the first; shapes as in
    `Overlay.render`."""
    index, self._index = self._index, self._index + 1
    if index % self._stride:
      return
    self._colours.update(frame, masks)
    # The frame is reduced first: thumbnails cost little in long videos.
    plain = _resized_frame(frame, self._size)
    pictures = [plain]
    for expression, mask in enumerate(masks):
      picture = plain.copy()
      small = _resized_mask(mask, self._size)
      draw_mask(picture, small, self._colours[expression])
      pictures.append(picture)
    self._kept.append((time, pictures, scores))
    if len(self._kept) > 4 * self._columns:
      self._kept = self._kept[::2]
      self._stride *= 2

  def image(self, title: str) -> PIL.Image.Image:
    """The sheet: plain frames on top, then a row for each expression."""
    count = min(self._columns, len(self._kept))
    places = np.linspace(0, len(self._kept) - 1, count)
    chosen = [self._kept[round(place)] for place in places]
    font = _font(15)
    line = sum(font.getmetrics()) + 6
    height, width = self._size
    sheet_width = max(count * (width + _GAP) + _GAP, 360)
    row_height = line + height + _GAP
    num_rows = 1 + len(self._expressions)
    size = (sheet_width, line + num_rows * row_height + _GAP)
    sheet = PIL.Image.new("RGB", size, _BACKGROUND)
    draw = PIL.ImageDraw.Draw(sheet)
    room = sheet_width - 2 * _GAP
    title = shorten(_legible(title), font, room)
    draw.text((_GAP, _GAP), title, _TEXT, font)
    columns = [_GAP + i * (width + _GAP) for i in range(count)]
    for x, (time, pictures, _) in zip(columns, chosen):
      draw.text((x, line + 3), f"{time:.1f} s", _MUTED, font)
      sheet.paste(pictures[0], (x, 2 * line))
    for row, text in enumerate(self._expressions):
      y = line + (row + 1) * row_height
      side = line - 10
      swatch = (_GAP, y + 5, _GAP + side, y + 5 + side)
      draw.rectangle(swatch, self._colours[row])
      text = shorten(_legible(text), font, room - line)
      draw.text((_GAP + line, y + 3), text, _TEXT, font)
      for x, (_, pictures, scores) in zip(columns, chosen):
        sheet.paste(pictures[row + 1], (x, y + line))
        label = (x + 3, y + line + 3)
        _draw_label(draw, label, f"{scores[row]:.2f}", font)
    return sheet


def _draw_label(draw, position, text, font) -> None:
  left, top, right, bottom = draw.textbbox(position, text, font)
  draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), _BACKGROUND)
  draw.text(position, text, _TEXT, font)


def strip(pictures: Sequence[PIL.Image.Image], caption: str) -> PIL.Image.Image:
  """Pictures of one size side by side, under a caption."""
  font = _font(15)
  line = sum(font.getmetrics()) + 6
  width, height = pictures[0].size
  size = (len(pictures) * (width + _GAP) - _GAP, line + height)
  image = PIL.Image.new("RGB", size, _BACKGROUND)
  text = shorten(_legible(caption), font, size[0] - 2 * _GAP)
  PIL.ImageDraw.Draw(image).text((_GAP, 3), text, _TEXT, font)
  for index, picture in enumerate(pictures):
    image.paste(picture, (index * (width + _GAP), line))
  return image


def stack_sheets(sheets: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
  """One picture with all sheets below each other."""
  width = max(sheet.width for sheet in sheets)
  height = sum(sheet.height for sheet in sheets)
  stacked = PIL.Image.new("RGB", (width, height), _BACKGROUND)
  y = 0
  for sheet in sheets:
    stacked.paste(sheet, (0, y))
    y += sheet.height
  return stacked
