"""The page of a score: numbers, distributions, pictures."""

import base64
import html.parser
import io
import re

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.cli import main
from sgmg_jax.evaluation import (
  comparison,
  gallery,
  mask_writer,
  protocols,
  report,
)
from sgmg_jax.evaluation import scores as scores_lib
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.input_pipeline import palette


@pytest.fixture(scope="module")
def truth(miniatures, tmp_path_factory):
  root = miniatures.make_own(tmp_path_factory.mktemp("truth"), valid=3)
  return truth_lib.Truth("own", root, "valid")


def predict(truth, folder, shift):
  for number, e in enumerate(truth.source.expressions):
    names = truth.source.video(e.video).frames
    masks = truth.source.read_masks(e, range(len(names)))
    masks = np.roll(masks, shift * (number % 5), 2)
    mask_writer.write_masks(folder / e.video / e.id, names, masks)
  return folder


class Balanced(html.parser.HTMLParser):
  """Checks that every tag is closed."""

  VOID = ("meta", "img", "br")

  def __init__(self):
    super().__init__()
    self.open = []

  def handle_starttag(self, tag, attrs):
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def pictures(page):
  for data in re.findall(r"base64,([^\"]+)", page):
    yield PIL.Image.open(io.BytesIO(base64.b64decode(data)))


def score(truth, predictions, *options):
  command = ["score", truth.path, str(predictions), "--data", "own"]
  assert main.main([*command, "--split", "valid", *map(str, options)]) == 0


def test_a_page_with_the_best_and_the_worst(truth, tmp_path, capsys):
  page_file = tmp_path / "page.html"
  masks = predict(truth, tmp_path / "masks", 4)
  score(truth, masks, "--report", page_file)
  page = page_file.read_text()
  parser = Balanced()
  parser.feed(page)
  assert not parser.open
  assert "Best sentences by J&amp;F" in page and "Worst sentences" in page
  assert page.count("<svg") >= 3
  captions = re.findall(r"<b>([\d.]+)</b>", page)
  assert captions[0] == "100.0" and float(captions[-1]) >= float(captions[-6])
  found = list(pictures(page))
  assert len(found) >= 3 * 12
  assert all(image.width == 240 for image in found)
  # The truth is outlined in blue, the prediction tinted.
  pixels = np.asarray(found[0].convert("RGB"), int)
  assert (np.abs(pixels - (51, 153, 255)).sum(-1) < 60).sum() > 20
  assert "http" not in re.sub(r"base64,[^\"]+", "", page)


def test_two_are_compared(truth, tmp_path, capsys):
  page_file = tmp_path / "page.html"
  first = predict(truth, tmp_path / "first", 4)
  second = predict(truth, tmp_path / "second", 1)
  score(truth, first, "--compare", second, "--report", page_file)
  output = capsys.readouterr().out
  assert "second less first" in output and "0 worse" in output
  page = page_file.read_text()
  assert "Changed most: first, then second" in page and "→" in page
  parser = Balanced()
  parser.feed(page)
  assert not parser.open


def test_objects_are_drawn_as_they_were_assigned(
  miniatures, tmp_path, monkeypatch
):
  """Labels that answer each other's sentence score 1, and so do pictures."""
  root = miniatures.make_refer_davis(tmp_path, num_frames=3)
  truth = protocols.find_truth(root)
  for video in {e.video for e in truth.source.expressions}:
    for index, name in enumerate(truth.source.video(video).frames):
      labels = truth.source.labels(video, index)
      labels = np.array([0, 2, 1, *range(3, 256)], np.uint8)[labels]
      labels[labels == 255] = 0
      image = PIL.Image.fromarray(labels).convert("P")
      image.putpalette(palette.pascal_voc())
      for annotator in range(4):
        folder = tmp_path / f"pred/anno_{annotator}" / video
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{name}.png")
  scores = protocols.score(truth, tmp_path / "pred", processes=1)
  assert {row.values["own object"] for row in scores.rows} >= {0, 1}
  drawn = []
  monkeypatch.setattr(
    gallery,
    "_picture",
    lambda *args: drawn.append(args) or PIL.Image.new("RGB", (8, 8)),
  )
  pictures_of = gallery.Gallery(truth, tmp_path / "pred")
  for row in scores.rows:
    assert row.values["J"] == 1
    pictures_of.draw(row)
  assert len(drawn) == 3 * len(scores.rows)
  for _, found, true in drawn:
    np.testing.assert_array_equal(found, true)


def test_a_few_sentences_are_shown_whatever_their_scores(truth, tmp_path):
  strips = []
  for shift in (1, 4):
    masks = predict(truth, tmp_path / f"{shift}", shift)
    rows = protocols.score(truth, masks, processes=1).rows
    drawn = gallery.Gallery(truth, masks)
    assert not drawn.strips([], 4)
    assert len(drawn.strips(rows, 100)) == len(rows)
    # In any order.
    strips.append([drawn.strips(r, 4) for r in (rows, rows[::-1])])
  assert len(rows) > 4
  for first, second in zip(*strips[0]):
    assert first.tobytes() == second.tobytes()
  for one, other in zip(strips[0][0], strips[1][0]):
    one, other = (np.asarray(s, int) for s in (one, other))
    # The same sentence above the same frames, which the masks alone change.
    assert one.shape == other.shape and one.shape[1] > 3 * 240
    np.testing.assert_array_equal(one[:20], other[:20])
    assert one[:20].std() > 5


class NoPictures:
  """A gallery that draws nothing."""

  def draw(self, row):
    return []


def test_many_sentences_with_any_text_and_without_some_values():
  """They are text, and the page does not grow with their number."""

  def of(number, value):
    text = f"<script>alert(\"{number}\")</script> & 'quotes'"
    values = {"J&F": value, "N-acc": float("nan") if number % 2 else value}
    return scores_lib.Row(f"<u>{number % 9}", f"{number}", text, values)

  def page_of(number):
    rows = [of(k, k / number) for k in range(number)]
    first = scores_lib.Scores("own", "<i>p", "J&F", {"J&F": 0.5}, rows)
    rows = [of(k, 1 - k / number) for k in range(number)]
    second = scores_lib.Scores("own", "<i>p", "J&F", {"J&F": 0.5}, rows)
    compared = comparison.compare(first, second)
    assert set(compared.differences) == {"J&F", "N-acc"}
    return report.render(
      first, NoPictures(), comparison=compared, other=NoPictures()
    )

  few, many = page_of(80), page_of(800)
  parser = Balanced()
  parser.feed(many)
  assert not parser.open
  for tag in ("<script", "<u>", "<i>"):
    assert tag not in many
  assert "nan" not in many.lower()
  assert len(many) < 1.1 * len(few)
