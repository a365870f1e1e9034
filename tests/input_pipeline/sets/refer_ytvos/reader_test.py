"""Ref-YouTube-VOS reads back as it was drawn."""

import json
import logging
import shutil
import threading

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.own import reader as own
from sgmg_jax.input_pipeline.sets.refer_ytvos import reader as refer_ytvos

ReferYTVOS = refer_ytvos.ReferYTVOS
OwnData = own.OwnData


@pytest.fixture(scope="module")
def root(miniatures, tmp_path_factory):
  return miniatures.make_refer_ytvos(tmp_path_factory.mktemp("ytvos"))


@pytest.fixture
def copy(root, tmp_path):
  return shutil.copytree(root, tmp_path / "copy")


def _edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def test_train_reads_back_to_the_clips(root):
  source = ReferYTVOS(root, "train")
  assert (source.name, source.split) == ("refer_ytvos", "train")
  expected = []
  for k, shape in enumerate([(6, 96, 128), (5, 128, 96), (4, 96, 128)]):
    num_frames, height, width = shape
    clip = dataset.generate_clip(
      "train", k, num_frames=num_frames, height=height, width=width
    )
    expected += [(clip.name, e.text) for e in clip.expressions]
    video = source.video(clip.name)
    assert video == source_lib.Video(
      clip.name, tuple(f"{5 * t:05d}" for t in range(num_frames)), shape[1:]
    )
    frames = source.read_frames(clip.name, [3, 1, 1])
    assert frames.dtype == np.uint8
    # JPEG changes a little.
    assert np.abs(frames.astype(int) - clip.frames[[3, 1, 1]]).mean() < 8
    mine = [e for e in source.expressions if e.video == clip.name]
    for expression, sentence in zip(mine, clip.expressions):
      assert expression.object_ids == (sentence.object_index + 1,)
      np.testing.assert_array_equal(
        source.read_masks(expression, [2, 0]),
        clip.masks[sentence.object_index][[2, 0]],
      )
    objects = source.objects(clip.name, 1)
    shown = np.flatnonzero(clip.masks[:, 1].any((1, 2)))
    assert list(objects) == [i + 1 for i in shown]
    for i in shown:
      np.testing.assert_array_equal(objects[i + 1], clip.masks[i, 1])
  assert [(e.video, e.text) for e in source.expressions] == expected


def test_encoded_frame_is_the_file(root):
  source = ReferYTVOS(root, "train")
  path = root / "train/JPEGImages/train_000001/00010.jpg"
  assert source.encoded_frame("train_000001", 2) == path.read_bytes()


def test_opening_looks_at_no_frame(root, copy):
  for folder in (copy / "train/JPEGImages").iterdir():
    shutil.rmtree(folder)
  opened = ReferYTVOS(copy, "train").expressions
  assert opened == ReferYTVOS(root, "train").expressions


def test_train_sorts_frames_by_name(copy):
  path = copy / "meta_expressions/train/meta_expressions.json"
  _edit(path, lambda c: c["videos"]["train_000002"]["frames"].reverse())
  source = ReferYTVOS(copy, "train")
  names = ("00000", "00005", "00010", "00015")
  assert source.video("train_000002").frames == names
  # Own data has the order of the list.
  assert OwnData(copy, "train").video("train_000002").frames == names[::-1]


def test_valid_is_the_valid_file_without_the_test_file(root):
  source = ReferYTVOS(root, "valid")
  assert list(source.frames) == ["val_000000", "val_000001"]
  videos = [e.video for e in source.expressions]
  assert videos == sorted(videos) and set(videos) == set(source.frames)
  assert {e.object_ids for e in source.expressions} == {()}
  assert {e.video for e in ReferYTVOS(root, "test").expressions} == {
    "test_000000"
  }


def test_valid_without_a_test_file_is_what_has_a_folder(copy):
  shutil.rmtree(copy / "meta_expressions/test")
  assert list(ReferYTVOS(copy, "valid").frames) == ["val_000000", "val_000001"]
  shutil.rmtree(copy / "valid/JPEGImages/val_000000")
  assert list(ReferYTVOS(copy, "valid").frames) == ["val_000001"]


def test_number_of_valid_videos(root, copy, caplog, monkeypatch):
  with caplog.at_level(logging.WARNING):
    ReferYTVOS(root, "valid")
  assert "2 videos are in the valid but not in the test" in caplog.text
  with pytest.raises(UserError, match="2 videos .* expected 202"):
    ReferYTVOS(root, "valid", strict=True)
  caplog.clear()
  with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
    patch.setattr(refer_ytvos, "VALID_VIDEOS", 2)
    ReferYTVOS(root, "valid", strict=True)
  assert not caplog.text
  shutil.rmtree(copy / "meta_expressions/test")
  shutil.rmtree(copy / "valid/JPEGImages")
  with pytest.raises(UserError, match="0 videos are in the valid expression"):
    ReferYTVOS(copy, "valid")


def test_no_ground_truth(root):
  source = ReferYTVOS(root, "valid")
  with pytest.raises(UserError, match="has no ground truth.*'val_000000'"):
    source.objects("val_000000", 0)
  with pytest.raises(UserError, match="for expression val_000000/0"):
    source.read_masks(source.expressions[0], [0])


def test_unknown_split_and_missing_folders(root, copy, tmp_path):
  with pytest.raises(UserError, match="expected train, valid or test"):
    ReferYTVOS(root, "val")
  with pytest.raises(UserError, match="train/meta_expressions.json: no such"):
    ReferYTVOS(tmp_path / "nowhere", "train")
  shutil.rmtree(copy / "train/Annotations")
  with pytest.raises(UserError, match="train/Annotations: no such folder"):
    ReferYTVOS(copy, "train")
  shutil.rmtree(copy / "train/JPEGImages")
  with pytest.raises(UserError, match="train/JPEGImages: no such folder"):
    ReferYTVOS(copy, "train")


def test_train_expression_without_object(copy):
  path = copy / "meta_expressions/train/meta_expressions.json"

  def change(content):
    del content["videos"]["train_000001"]["expressions"]["2"]["obj_id"]

  _edit(path, change)
  with pytest.raises(UserError, match="'train_000001' expression '2'.*obj_id"):
    ReferYTVOS(copy, "train")


def test_train_without_any_object(copy):
  path = copy / "meta_expressions/train/meta_expressions.json"

  def change(content):
    for video in content["videos"].values():
      for expression in video["expressions"].values():
        del expression["obj_id"]

  _edit(path, change)
  for reader in (ReferYTVOS, OwnData):
    with pytest.raises(UserError, match="'train_000000' expression '0'.*obj_i"):
      reader(copy, "train")


@pytest.fixture
def broken(copy):
  """The train split and the first frame's image and label map."""
  return (
    ReferYTVOS(copy, "train"),
    copy / "train/JPEGImages/train_000000/00000.jpg",
    copy / "train/Annotations/train_000000/00000.png",
  )


def _faults(source):
  """Messages of all that reads the frame, if they fail."""
  expression = source.expressions[0]
  readers = {
    "video": lambda: source.video("train_000000"),
    "encoded": lambda: source.encoded_frame("train_000000", 0),
    "frames": lambda: source.read_frames("train_000000", [1, 0]),
    "objects": lambda: source.objects("train_000000", 0),
    "masks": lambda: source.read_masks(expression, [1, 0]),
  }
  found = {}
  for name, reader in readers.items():
    try:
      reader()
    except UserError as e:
      found[name] = str(e)
  return found


def test_missing_frame(broken):
  source, image, _ = broken
  image.unlink()
  faults = _faults(source)
  assert set(faults) == {"video", "encoded", "frames", "objects", "masks"}
  for fault in faults.values():
    assert f"{image}: no such file" in fault and "'train_000000'" in fault


def test_corrupt_frame(broken):
  source, image, _ = broken
  whole = image.read_bytes()
  image.write_bytes(whole[: len(whole) // 2])
  faults = _faults(source)
  # The header, which is all that masks need, is still there.
  assert set(faults) == {"frames"}
  assert f"{image}: refer_ytvos video 'train_000000'" in faults["frames"]
  source = ReferYTVOS(image.parents[3], "train")
  image.write_bytes(b"not an image")
  faults = _faults(source)
  assert f"{image}: not a readable image" in faults["video"]
  assert "'train_000000'" in faults["video"]


def test_frame_of_another_size(broken):
  source, image, _ = broken
  second = image.with_name("00005.jpg")
  PIL.Image.new("RGB", (128, 95)).save(second)
  faults = _faults(source)
  assert set(faults) == {"frames"}
  assert f"{second}: " in faults["frames"]
  assert "95x128 pixels, expected 96x128" in faults["frames"]


def test_missing_label_map(broken):
  source, _, labels = broken
  labels.unlink()
  faults = _faults(source)
  assert set(faults) == {"objects", "masks"}
  for fault in faults.values():
    assert f"{labels}: " in fault and "no such file" in fault
    assert "'train_000000'" in fault
  assert "for expression train_000000/0" in faults["masks"]


@pytest.mark.parametrize("mode", ["RGB", "LA", "I;16", "1"])
def test_label_map_of_another_mode(broken, mode):
  source, _, labels = broken
  PIL.Image.new(mode, (128, 96)).save(labels)
  faults = _faults(source)
  assert set(faults) == {"objects", "masks"}
  assert f"{labels}: " in faults["masks"] and f"mode {mode}" in faults["masks"]


def test_grey_label_map_holds_ids(broken):
  source, _, labels = broken
  before = source.objects("train_000000", 0)
  values = np.asarray(PIL.Image.open(labels))
  PIL.Image.fromarray(values).save(labels)
  assert PIL.Image.open(labels).mode == "L"
  after = source.objects("train_000000", 0)
  assert list(before) == list(after)
  for i in before:
    np.testing.assert_array_equal(before[i], after[i])


def test_label_map_of_another_size(broken):
  source, _, labels = broken
  PIL.Image.new("P", (64, 48)).save(labels)
  faults = _faults(source)
  assert set(faults) == {"objects", "masks"}
  assert f"{labels}: " in faults["masks"]
  assert "48x64 pixels, expected 96x128" in faults["masks"]


def test_corrupt_label_map(broken):
  source, _, labels = broken
  labels.write_bytes(labels.read_bytes()[:60])
  faults = _faults(source)
  assert set(faults) == {"objects", "masks"}
  assert f"{labels}: " in faults["objects"]


def test_unknown_video(root):
  source = ReferYTVOS(root, "train")
  for read in (source.video, lambda v: source.encoded_frame(v, 0)):
    with pytest.raises(UserError, match="refer_ytvos train: no video 'none'"):
      read("none")


def test_threads_read_the_same(root):
  source = ReferYTVOS(root, "train")
  expected = [source.read_masks(e, [0, 1]) for e in source.expressions]
  source = ReferYTVOS(root, "train")
  wrong = []

  def work(shift):
    order = np.roll(np.arange(len(expected)), shift)
    for k in order:
      if not np.array_equal(
        source.read_masks(source.expressions[k], [0, 1]), expected[k]
      ):
        wrong.append(k)

  threads = [threading.Thread(target=work, args=(7 * i,)) for i in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong
