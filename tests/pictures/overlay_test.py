"""Overlays and contact sheets: what is drawn where, and how much is kept."""

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.pictures import overlay as overlay_lib

GREY = np.full((60, 80, 3), 100, np.uint8)


def _mask(rows, columns):
  mask = np.zeros(GREY.shape[:2], bool)
  mask[rows, columns] = True
  return mask


def test_masks_are_tinted_inside_a_white_contour():
  picture = PIL.Image.fromarray(GREY.copy())
  mask = _mask(slice(10, 40), slice(20, 60))
  overlay_lib.draw_mask(picture, mask, (255, 0, 0))
  drawn = np.asarray(picture)
  np.testing.assert_array_equal(drawn[~mask], 100)
  np.testing.assert_array_equal(drawn[10, 20:60], 255)
  np.testing.assert_array_equal(drawn[11, 22], (255, 0, 0))
  np.testing.assert_allclose(drawn[25, 40], (169, 55, 55), atol=2)


def test_empty_and_tiny_masks():
  picture = PIL.Image.fromarray(GREY.copy())
  overlay_lib.draw_mask(picture, _mask(slice(0), slice(0)), (255, 0, 0))
  np.testing.assert_array_equal(np.asarray(picture), GREY)
  overlay_lib.draw_mask(picture, _mask(59, 79), (255, 0, 0))
  np.testing.assert_array_equal(np.asarray(picture)[59, 79], 255)


@pytest.mark.parametrize(
  "size, shown",
  [
    ((60, 80), (360, 480)),
    ((480, 640), (480, 640)),
    ((2160, 3840), (1080, 1920)),
    ((1900, 100), (1900, 100)),  # enlarging would make it too tall
  ],
)
def test_display_size(size, shown):
  assert overlay_lib.display_size(*size) == shown


def test_text_is_cut_where_it_no_longer_fits():
  font = overlay_lib._font(14)
  text = "the tall dog on the left"
  assert overlay_lib.shorten(text, font, font.getlength(text)) == text
  for length in (1, 7, 20):
    shown = f"{text[:length]}…"
    assert overlay_lib.shorten(text, font, font.getlength(shown)) == shown
  assert overlay_lib.shorten("the", font, 300, cut=True) == "the…"
  assert overlay_lib.shorten(text, font, 2) == "…"


@pytest.mark.parametrize("text", ["w" * 10**6, "the dog " * 10**5])
def test_endless_text_is_measured_a_few_times(text, monkeypatch):
  measured = []
  font_class = type(overlay_lib._font(14))
  getlength = font_class.getlength

  def counted(font, text):
    measured.append(len(text))
    return getlength(font, text)

  monkeypatch.setattr(font_class, "getlength", counted)
  overlay = overlay_lib.Overlay(90, 160, [text])
  overlay.render(
    np.zeros((90, 160, 3), np.uint8), np.zeros((1, 90, 160), bool), [0.5]
  )
  assert sum(measured) < 10**6


def test_overlay_height_is_the_same_for_every_frame():
  overlay = overlay_lib.Overlay(
    60, 80, ["short", "long " * 200, "", "größer 犬"]
  )
  masks = np.zeros((4, 60, 80), bool)
  low = overlay.render(GREY, masks, np.zeros(4))
  high = overlay.render(GREY, masks, np.ones(4))
  assert low.shape == high.shape and low.shape[1] == 480
  assert low.shape[0] < 360 + 250, "long sentences are cut"
  assert np.any(low[360:] != high[360:]), "the scores are written"


def test_contact_sheet_keeps_few_frames_evenly():
  sheet = overlay_lib.ContactSheet(60, 80, ["a ball"], columns=5)
  for index in range(1000):
    frame = np.full((60, 80, 3), index // 4, np.uint8)
    mask = _mask(slice(5, 9), slice(5, 9))[None]
    sheet.add(frame, mask, np.ones(1), index / 25)
  assert len(sheet._kept) <= 20
  picture = np.asarray(sheet.image("title"))
  height, width = sheet._size
  line = next(y for y in range(99) if np.all(picture[y : y + 9, 100] == 0))
  values = [picture[line + 9, 6 + 9 + i * (width + 6), 0] for i in range(5)]
  steps = np.diff(np.array(values, int))
  assert values[0] == 0 and values[-1] > 225
  assert steps.max() - steps.min() <= 250 / 15


def test_contact_sheet_shows_times():
  def sheet(times):
    sheet = overlay_lib.ContactSheet(60, 80, ["a ball"], columns=5)
    for time in times:
      sheet.add(GREY, np.zeros((1, 60, 80), bool), np.ones(1), time)
    return np.asarray(sheet.image("title"))

  # Of five columns the third and the fifth have other labels.
  changed = np.any(sheet([0, 1, 2, 3, 4]) != sheet([0, 1, 7.5, 3, 9]), (0, 2))
  columns = {x // (240 + 6) for x in changed.nonzero()[0]}
  assert columns == {2, 4}


def test_one_frame_makes_a_sheet_too():
  sheet = overlay_lib.ContactSheet(2000, 40, ["a ball"])
  mask = np.ones((1, 2000, 40), bool)
  sheet.add(np.zeros((2000, 40, 3), np.uint8), mask, np.ones(1), 0.0)
  picture = sheet.image("a very long title " * 20)
  stacked = overlay_lib.stack_sheets([picture, picture])
  assert stacked.size == (picture.width, 2 * picture.height)
