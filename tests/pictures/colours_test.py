"""Colours of masks: no two alike, and none like what it covers."""

import colorsys

import numpy as np
import pytest

from sgmg_jax.pictures import colours
from sgmg_jax.pictures import overlay as overlay_lib


def _scene(*fills):
  """A grey frame with a square of each colour, and its masks."""
  frame = np.full((40, 40 * len(fills), 3), 110, np.uint8)
  masks = np.zeros((len(fills), *frame.shape[:2]), bool)
  for index, fill in enumerate(fills):
    masks[index, 10:30, 40 * index + 10 : 40 * index + 30] = True
    frame[masks[index]] = fill
  return frame, masks


def test_colours_do_not_repeat():
  assert len({colours.colour_of(index) for index in range(60)}) == 60
  # Nor where every object wants another than its own.
  frame, masks = _scene(*[(220, 40, 40)] * 12)
  chosen = colours.Colours(12)
  chosen.update(frame, masks)
  assert len({chosen[index] for index in range(12)}) == 12


@pytest.mark.parametrize("hue", np.arange(12) / 12)
@pytest.mark.parametrize("saturation, value", [(0.9, 0.9), (0.7, 0.5), (0, 1)])
@pytest.mark.parametrize("index", range(3))
def test_no_object_is_covered_in_its_own_colour(hue, saturation, value, index):
  fill = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
  frame, masks = _scene(*[fill] * (index + 1))
  chosen = colours.Colours(index + 1)
  chosen.update(frame, masks)
  for colour in (chosen[i] for i in range(index + 1)):
    there = colorsys.rgb_to_hsv(*(c / 255 for c in colour))[0]
    apart = abs(there - hue)
    assert saturation == 0 or min(apart, 1 - apart) > 0.1
    assert colours.contrast(colour, frame[masks[index]]) >= colours.ENOUGH


def test_grey_keeps_the_palette_and_a_choice_lasts():
  frame, masks = _scene((120, 120, 120), (90, 90, 95))
  chosen = colours.Colours(2)
  chosen.update(frame, masks & [[[True]], [[False]]])
  assert chosen[0] == colours.PALETTE[0]
  # The second appears, and the first turns red.
  red, masks = _scene((250, 80, 60), (51, 153, 255))
  chosen.update(red, masks)
  assert chosen[0] == colours.PALETTE[0]
  assert chosen[1] not in (colours.PALETTE[0], colours.PALETTE[1])


def test_objects_that_are_never_seen_share_no_colour():
  red, masks = _scene((255, 89, 64))
  chosen = colours.Colours(8)
  chosen.update(red, np.concatenate([masks, np.zeros((7, *red.shape[:2]))]) > 0)
  assert chosen[0] in colours.PALETTE[1:]
  assert len({chosen[index] for index in range(8)}) == 8


def test_pictures_show_the_chosen_colour():
  frame, masks = _scene((255, 89, 64))
  overlay = overlay_lib.Overlay(*frame.shape[:2], ["a red square"])
  drawn = overlay.render(frame, masks, np.ones(1))
  sheet = overlay_lib.ContactSheet(*frame.shape[:2], ["a red square"])
  sheet.add(frame, masks, np.ones(1), 0.0)
  chosen = colours.Colours(1)
  chosen.update(frame, masks)
  assert chosen[0] != colours.PALETTE[0]
  for picture in (drawn, np.asarray(sheet.image("title"))):
    painted = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    assert chosen[0] in painted and colours.PALETTE[0] not in painted - {
      tuple(pixel) for pixel in frame.reshape(-1, 3).tolist()
    }
