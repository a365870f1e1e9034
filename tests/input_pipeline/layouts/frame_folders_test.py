"""Frames of own data as cameras write them, and files that are no frames."""

import os

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import loader, planner, recipes
from sgmg_jax.input_pipeline.doctor import examination
from sgmg_jax.input_pipeline.layouts import frame_folders
from sgmg_jax.input_pipeline.sets.own import reader as own


@pytest.fixture
def root(miniatures, tmp_path):
  return miniatures.make_own(tmp_path)


def frames_of(root, video=0):
  folder = sorted((root / "train" / "JPEGImages").iterdir())[video]
  return sorted(folder.iterdir())


def label_of(frame):
  folder = frame.parents[2] / "Annotations" / frame.parent.name
  return folder / f"{frame.stem}.png"


def examine(root, **options):
  options = {"workers": 1, "policy": "off"} | options
  return examination.examine([root], **options).sets[0].findings


def read(root):
  source = own.OwnData(root, "train")
  first = source.expressions[0]
  return source.read_frames(first.video, [0]), source.read_masks(first, [0])


def replace(path, **options):
  """Saves an image again, as another file."""
  with PIL.Image.open(path) as image:
    image.save(path, **options)


class TestRead:
  @pytest.mark.parametrize("suffix", (".JPG", ".Jpeg"))
  def test_capitals(self, root, suffix):
    expected = read(root)
    for frame in frames_of(root):
      label = label_of(frame)
      label.rename(label.with_suffix(".PNG"))
      frame.rename(frame.with_suffix(suffix))
    for got, want in zip(read(root), expected):
      assert np.array_equal(got, want)
    assert not [f for f in examine(root) if f.severity == "error"]

  def test_lower_case_and_the_first_suffix_win(self, tmp_path):
    names = ("a.PNG", "a.JPG", "b.JPG", "b.png", "a.b.jpg", "c.txt")
    for name in names:
      (tmp_path / name).touch()
    for stem, name in (("b", "b.png"), ("a.b", "a.b.jpg"), ("a", "a.JPG")):
      found = frame_folders.find(tmp_path, stem, frame_folders.SUFFIXES)
      assert found == tmp_path / name
    missing = frame_folders.find(tmp_path, "c", frame_folders.SUFFIXES)
    assert missing == tmp_path / "c.jpg"

  def test_upright_with_an_upright_mask(self, root):
    frames, masks = read(root)
    for frame in frames_of(root):
      exif = PIL.Image.Exif()
      exif[0x0112] = 6
      replace(frame, quality=95, exif=exif)
      label = label_of(frame)
      with PIL.Image.open(label) as image:
        image.transpose(PIL.Image.Transpose.ROTATE_270).save(label)
    turned_frames, turned_masks = read(root)
    assert turned_frames.shape == (1, *frames.shape[2:0:-1], 3)
    turned_back = np.rot90(turned_frames, 1, (1, 2))
    assert abs(turned_back.astype(int) - frames).mean() < 3
    assert np.array_equal(np.rot90(turned_masks, 1, (1, 2)), masks)
    findings = examine(root)
    assert {f.code for f in findings if f.severity != "info"} == {
      "frame-rotated"
    }

  def test_16_bits_as_8(self, root):
    height, width = read(root)[0].shape[1:3]
    levels = np.full((height, width), 128 * 257, np.uint16)
    for frame in frames_of(root):
      frame.unlink()
      PIL.Image.fromarray(levels).save(frame.with_suffix(".png"))
    assert (read(root)[0] == 128).all()


def bomb(path, make_bomb):
  make_bomb(path)
  return "225,000,000 pixels, more than the limit of 89,478,485"


def pipe(path, _):
  path.unlink()
  os.mkfifo(path)
  return "a pipe, expected a regular file"


def animation(path, _):
  first, second = (PIL.Image.new("RGB", (128, 96), (i, 0, 0)) for i in (1, 2))
  first.save(path, "PNG", save_all=True, append_images=[second])
  return "an animation of 2 frames, expected a still image"


@pytest.fixture(params=(bomb, pipe, animation))
def spoil(request, make_bomb):
  """Puts something else in an image's place; the reason to be given."""
  return lambda path: request.param(path, make_bomb)


class TestNoFrame:
  # The first frame is opened for its size, any other to be decoded.
  @pytest.mark.parametrize("index", (0, 2))
  def test_reader_names_the_file(self, root, spoil, index):
    path = frames_of(root)[index]
    reason = spoil(path)
    source = own.OwnData(root, "train")
    with pytest.raises(UserError) as caught:
      source.read_frames(source.expressions[0].video, [index])
    assert str(path) in str(caught.value) and reason in str(caught.value)
    assert "\n" not in str(caught.value)

  @pytest.mark.parametrize("index", (0, 2))
  def test_loader_skips_it(self, root, spoil, index):
    bad = frames_of(root)[index]
    reason = spoil(bad)
    data_set = loader.DataSet(
      own.OwnData(root, "train"),
      recipes.get("own", "train", num_frames=4),
      skip_errors=True,
    )
    mixture = planner.Mixture([data_set.part()])
    # Without it the second video's sentences remain, or others are drawn.
    load = loader.Loader([data_set], mixture, seed=0, skip_errors=True).load
    messages = list(data_set.skipped)
    if index:
      example, messages = load(planner.Row(0, 0, 0), (640, 640))
      assert example["valid_row"] and example["index"] != 0
    else:
      videos = {s.expression.video for s in data_set.samples}
      assert bad.parent.name not in videos and videos
    assert any(str(bad) in m and reason in m for m in messages)

  def test_label_map(self, root, spoil):
    path = label_of(frames_of(root)[0])
    reason = spoil(path)
    source = own.OwnData(root, "train")
    with pytest.raises(UserError, match=r"expected|limit") as caught:
      source.read_masks(source.expressions[0], [0])
    assert str(path) in str(caught.value)
    (found,) = (f for f in examine(root) if f.code.startswith("mask"))
    assert found.file == str(path) and reason in found.message

  @pytest.mark.parametrize("fast", (False, True))
  def test_doctor_names_it(self, root, spoil, fast):
    path = frames_of(root)[1]
    reason = spoil(path)
    (found,) = (f for f in examine(root, fast=fast) if f.severity == "error")
    assert (found.code, found.file) == ("frame-corrupt", str(path))
    assert reason in found.message


def test_pipes_instead_of_lists(root):
  path = root / "meta_expressions" / "train" / "meta_expressions.json"
  path.unlink()
  os.mkfifo(path)
  with pytest.raises(UserError, match="a pipe, expected a regular file"):
    own.OwnData(root, "train")
  (found,) = (f for f in examine(root) if f.severity == "error")
  assert found.file == str(path) and "a pipe" in found.message
