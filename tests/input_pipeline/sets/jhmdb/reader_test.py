"""JHMDB-Sentences from its raw folder."""

import json
import logging
import shutil

import numpy as np
import pytest
import scipy.io

from sgmg_jax import errors
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.jhmdb import reader as jhmdb


@pytest.fixture(scope="module")
def made(miniatures, tmp_path_factory):
  return miniatures.make_jhmdb(tmp_path_factory.mktemp("jhmdb"))


@pytest.fixture
def root(made, tmp_path):
  """A copy to break, under another name than the listed paths have."""
  return shutil.copytree(made, tmp_path / "copy")


def clip_of(video):
  """The RefShapes clip that a video was made from."""
  return dataset.generate_clip(
    "test", int(video.removeprefix("vid")), num_frames=10, height=96, width=128
  )


def edit(root, change):
  """Rewrites the list of frames as `change(list)` leaves it."""
  path = root / jhmdb.SAMPLES_FILE
  samples = json.loads(path.read_text())
  change(samples)
  path.write_text(json.dumps(samples))


def write_masks(root, video, masks):
  (path,) = root.glob(f"puppet_mask/*/{video}/puppet_mask.mat")
  scipy.io.savemat(path, {"part_mask": masks})
  return path


def test_expressions_are_the_listed_frames_in_order(made):
  source = jhmdb.JHMDB(made)
  samples = json.loads((made / jhmdb.SAMPLES_FILE).read_text())
  assert (source.name, source.split) == ("jhmdb", "test")
  assert len(source.expressions) == len(samples) == 9
  for e, (video, image, _, _, text) in zip(source.expressions, samples):
    assert (e.video, e.text) == (video, text)
    assert image.endswith(f"/{e.frame + 1:05d}.png")
  assert any(e.text != e.text.strip() for e in source.expressions)


def test_ids_complete_the_names_of_the_coco_file(made):
  path = made / "jhmdb_sentences_gt_annotations_in_coco_format.json"
  names = [image["id"] for image in json.loads(path.read_text())["images"]]
  source = jhmdb.JHMDB(made)
  assert [f"v_{e.video}_{e.id}" for e in source.expressions] == names


def test_only_frames_with_masks_count(made):
  source = jhmdb.JHMDB(made)
  assert source.video("vid0").size == (96, 128)
  assert source.video("vid0").frames == tuple(f"{n:05d}" for n in range(1, 9))
  assert (made / "Rename_Images" / "wave" / "vid0" / "00009.png").exists()
  for read in (source.encoded_frame, source.objects):
    with pytest.raises(errors.UserError, match="'vid0': frame 8, .*0..7"):
      read("vid0", 8)


def test_frames_and_masks_are_those_of_the_clips(root):
  source = jhmdb.JHMDB(root)
  for e in source.expressions:
    clip = clip_of(e.video)
    person = clip.masks[clip.expressions[0].object_index]
    indices = [e.frame, 0, 7]
    np.testing.assert_array_equal(
      source.read_frames(e.video, indices), clip.frames[indices]
    )
    masks = source.read_masks(e, indices)
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, person[indices])


def test_a_video_of_one_mask(miniatures, tmp_path):
  root = miniatures.make_jhmdb(tmp_path, videos=1)
  mask = np.zeros((96, 128), np.uint8)
  mask[3:7, 20:50] = 1
  write_masks(root, "vid0", mask)
  edit(
    root,
    lambda samples: samples.__setitem__(
      slice(None), [[*samples[0][:3], 1, "a man"]]
    ),
  )
  path = "./jhmdb_sentences/Rename_Images/wave/vid0/00001.png"
  edit(root, lambda samples: samples[0].__setitem__(1, path))
  source = jhmdb.JHMDB(root)
  np.testing.assert_array_equal(
    source.read_masks(source.expressions[0], [0])[0], mask != 0
  )


class TestDrawnFrames:
  def test_three_frames_of_every_video_in_order(self, root):
    published = jhmdb.JHMDB(root).expressions
    (root / jhmdb.SAMPLES_FILE).unlink()
    source = jhmdb.JHMDB(root, draw_frames=True)
    assert [(e.video, e.text) for e in source.expressions] == [
      (e.video, e.text) for e in published
    ]
    frames = [e.frame for e in source.expressions]
    for k in range(0, 9, 3):
      assert frames[k : k + 3] == sorted(set(frames[k : k + 3]))
    assert len(set(map(tuple, np.reshape(frames, (3, 3))))) > 1
    for e in source.expressions:
      assert source.read_masks(e, [e.frame]).shape == (1, 96, 128)
    assert jhmdb.JHMDB(root, draw_frames=True).expressions == source.expressions
    assert not (root / jhmdb.SAMPLES_FILE).exists()

  def test_the_published_list_is_preferred(self, made):
    expected = jhmdb.JHMDB(made).expressions
    assert jhmdb.JHMDB(made, draw_frames=True).expressions == expected

  @pytest.mark.parametrize(
    "pattern, message",
    [
      ("jhmdb_annotation.txt", "jhmdb_annotation.txt: cannot be read"),
      ("Rename_Images/*/vid1", "'vid1', expression .*0 folders"),
      ("puppet_mask/*/vid1/puppet_mask.mat", "'vid1'.*puppet_mask.mat"),
    ],
  )
  def test_missing_files_are_named(self, root, pattern, message):
    (root / jhmdb.SAMPLES_FILE).unlink()
    (path,) = root.glob(pattern)
    path.rename(root / "away")
    with pytest.raises(errors.UserError, match=message):
      jhmdb.JHMDB(root, draw_frames=True)

  def test_too_few_masks(self, root):
    (root / jhmdb.SAMPLES_FILE).unlink()
    write_masks(root, "vid1", np.zeros((96, 128, 2), np.uint8))
    with pytest.raises(errors.UserError, match="'vid1': 2 masks"):
      jhmdb.JHMDB(root, draw_frames=True)


class TestErrors:
  def test_the_list_must_be_there(self, root):
    (root / jhmdb.SAMPLES_FILE).unlink()
    with pytest.raises(errors.UserError, match="samples_metadata.json.*MTTR"):
      jhmdb.JHMDB(root)

  def test_another_split(self, made):
    with pytest.raises(errors.UserError, match="jhmdb split 'train'"):
      jhmdb.JHMDB(made, "train")

  @pytest.mark.parametrize(
    "column, value, message",
    [
      (3, "8", "entry 1: "),
      (1, "./jhmdb_sentences/Rename_Images/wave/vid0/00009.png", "'vid0'.*8"),
      (1, "./jhmdb_sentences/Rename_Images/wave/vid0/x.png", "'vid0'.*8"),
      (1, "/etc/00002.png", "'/etc/00002.png'"),
      (2, "../../puppet_mask.mat", "puppet_mask.mat"),
      (2, "./jhmdb_sentences/other.mat", "'vid0' has other files"),
    ],
  )
  def test_malformed_entries(self, root, column, value, message):
    edit(root, lambda samples: samples[1].__setitem__(column, value))
    with pytest.raises(errors.UserError, match=message) as raised:
      jhmdb.JHMDB(root)
    assert jhmdb.SAMPLES_FILE in str(raised.value)

  def test_an_entry_that_is_there_twice(self, root):
    edit(root, lambda samples: samples.append(samples[0]))
    with pytest.raises(errors.UserError, match="entry 9.*vid0/f_.* twice"):
      jhmdb.JHMDB(root)

  def test_an_empty_sentence_warns(self, root, caplog):
    edit(root, lambda samples: samples[0].__setitem__(4, ""))
    with caplog.at_level(logging.WARNING):
      expression = jhmdb.JHMDB(root).expressions[0]
    assert expression.key in caplog.text

  def test_a_missing_frame(self, root):
    source = jhmdb.JHMDB(root)
    for number in (1, 4):
      (path,) = root.glob(f"Rename_Images/*/vid1/{number:05d}.png")
      path.unlink()
    with pytest.raises(errors.UserError, match="'vid1'.*00004.png"):
      source.encoded_frame("vid1", 3)
    with pytest.raises(errors.UserError, match="'vid1'.*00001.png"):
      source.video("vid1")

  def test_an_unknown_video(self, made):
    with pytest.raises(errors.UserError, match="'nobody'"):
      jhmdb.JHMDB(made).video("nobody")

  def test_missing_and_unreadable_masks(self, root):
    (path,) = root.glob("puppet_mask/*/vid1/puppet_mask.mat")
    source = jhmdb.JHMDB(root)
    stored = path.read_bytes()
    path.unlink()
    for content in (None, b"", b"no mat" * 99, stored[: len(stored) // 2]):
      if content is not None:
        path.write_bytes(content)
      with pytest.raises(errors.UserError, match="'vid1'.*puppet_mask.mat"):
        source.objects("vid1", 0)
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(errors.UserError, match="'part_mask'"):
      source.objects("vid1", 0)

  def test_fewer_masks_than_listed(self, root):
    write_masks(root, "vid1", np.zeros((96, 128, 7), np.uint8))
    with pytest.raises(errors.UserError, match="'vid1'.*7 masks, expected 8"):
      jhmdb.JHMDB(root).objects("vid1", 0)

  def test_masks_of_another_size(self, root):
    write_masks(root, "vid1", np.zeros((128, 96, 8), np.uint8))
    source = jhmdb.JHMDB(root)
    (e, *_) = [e for e in source.expressions if e.video == "vid1"]
    with pytest.raises(errors.UserError, match="'vid1'.*128, 96"):
      source.read_masks(e, [e.frame])
