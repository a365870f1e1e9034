"""A2D-Sentences from its raw folder."""

import io
import json
import logging
import pathlib
import pickle
import shutil
import sys

import h5py
import numpy as np
import PIL.Image
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.ops import boxes as boxes_lib
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.a2d import annotation
from sgmg_jax.input_pipeline.sets.a2d import reader as a2d

GOLDEN = pathlib.Path(__file__).parents[3] / "golden" / "eval"
IDS = (1, 3, 4, 7, 8, 9, 10, 11)


@pytest.fixture(scope="module")
def made(miniatures, tmp_path_factory):
  return miniatures.make_a2d(tmp_path_factory.mktemp("a2d"))


@pytest.fixture
def root(made, tmp_path):
  """A copy to break."""
  return shutil.copytree(made, tmp_path / "a2d")


def clip_of(video):
  """The RefShapes clip that a video was made from."""
  index = int(video.removeprefix("_vid"))
  return dataset.generate_clip(
    "train", index, num_frames=12, height=96, width=128
  )


def list_of(root, split):
  return root / f"a2d_sentences_single_frame_{split}_annotations.json"


def h5_of(root, expression):
  folder = root / "text_annotations" / "a2d_annotation_with_instances"
  return folder / expression.video / f"{expression.frame + 1:05d}.h5"


class TestAnnotation:
  def example(self):
    cases = json.loads((GOLDEN / "sampling_cases.json").read_text())
    return cases["a2d_h5_example"]

  def test_golden_masks_are_transposed(self, tmp_path):
    example = self.example()
    path = tmp_path / "00016.h5"
    stored = np.zeros(example["reMask_shape_in_file"], np.uint8)
    stored[1, 2:7, 1:4] = 1
    with h5py.File(path, "w") as file:
      file["instance"] = example["instance"]
      file["reMask"] = stored
    masks = annotation.masks(path)
    assert sorted(masks) == example["instance"]
    mask = masks[example["asked_instance"]]
    assert list(mask[None].shape) == example["resulting_mask_shape"]
    box = boxes_lib.from_masks(mask)
    assert box.tolist() == example["resulting_box_xyxy"]

  def test_a_single_instance_has_no_first_axis(self, tmp_path):
    example = self.example()
    path = tmp_path / "00016.h5"
    stored = np.zeros(example["reMask_shape_in_file"][1:], np.uint8)
    stored[2:7, 1:4] = 1
    with h5py.File(path, "w") as file:
      file["instance"] = [example["asked_instance"]]
      file["reMask"] = stored
    ((instance, mask),) = annotation.masks(path).items()
    assert instance == example["asked_instance"]
    assert list(mask[None].shape) == example["resulting_mask_shape"]
    box = boxes_lib.from_masks(mask)
    assert box.tolist() == example["resulting_box_xyxy"]

  @pytest.mark.parametrize(
    "ids, shape", [([1, 2], (8, 6)), ([1], (2, 8, 6)), ([2, 2], (2, 8, 6))]
  )
  def test_ids_that_do_not_match_the_masks(self, tmp_path, ids, shape):
    path = tmp_path / "00016.h5"
    with h5py.File(path, "w") as file:
      file["instance"] = ids
      file["reMask"] = np.zeros(shape, np.uint8)
    with pytest.raises(errors.UserError, match="00016.h5"):
      annotation.masks(path)

  def test_other_files(self, tmp_path):
    path = tmp_path / "00016.h5"
    with pytest.raises(errors.UserError, match="00016.h5: no such file"):
      annotation.masks(path)
    path.write_bytes(b"no h5")
    with pytest.raises(errors.UserError, match="00016.h5: cannot read"):
      annotation.masks(path)
    with h5py.File(path, "w") as file:
      file["instance"] = [1]
    with pytest.raises(errors.UserError, match="00016.h5: .*'reMask'"):
      annotation.masks(path)


class TestExpressions:
  def test_are_those_of_the_list_in_its_order(self, made):
    for split in ("train", "test"):
      source = a2d.A2D(made, split)
      assert (source.name, source.split) == ("a2d", split)
      assert [
        [e.text, e.video, e.frame + 1, *e.object_ids]
        for e in source.expressions
      ] == json.loads(list_of(made, split).read_text())

  def test_ids_complete_the_names_of_the_coco_file(self, made):
    path = made / "a2d_sentences_test_annotations_in_coco_format.json"
    names = [image["id"] for image in json.loads(path.read_text())["images"]]
    source = a2d.A2D(made, "test")
    assert [f"v_{e.video}_{e.id}" for e in source.expressions] == names

  def test_two_sentences_of_one_instance_keep_apart(self, root):
    examples = json.loads(list_of(root, "train").read_text())
    examples.append(["the same again", *examples[0][1:]])
    list_of(root, "train").write_text(json.dumps(examples))
    *_, last = a2d.A2D(root, "train").expressions
    assert last.id == a2d.A2D(root, "train").expressions[0].id + "_2"

  @pytest.mark.parametrize(
    "example",
    [["a dog", "_vid0", 0, 1], ["a dog", "_vid0", "2", 1], ["a dog"], 7],
  )
  def test_malformed_lists_are_named(self, root, example):
    list_of(root, "train").write_text(json.dumps([example]))
    with pytest.raises(errors.UserError, match="train_annotations.json entry"):
      a2d.A2D(root, "train")

  def test_an_empty_sentence_warns(self, root, caplog):
    examples = json.loads(list_of(root, "train").read_text())
    examples[0][0] = " "
    list_of(root, "train").write_text(json.dumps(examples))
    with caplog.at_level(logging.WARNING):
      expression = a2d.A2D(root, "train").expressions[0]
    assert expression.key in caplog.text

  def test_missing_h5py_is_found_first(self, made, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(errors.UserError, match="pip install h5py"):
      a2d.A2D(made, "train")


class TestFrames:
  def test_are_the_clips_in_order(self, made):
    source = a2d.A2D(made, "train")
    truth = clip_of("_vid1").frames.astype(float)
    order = [7, 0, 11, 3, 3]
    frames = source.read_frames("_vid1", order).astype(float)
    errors_ = np.abs(frames[:, None] - truth[None]).mean((2, 3, 4))
    assert errors_.argmin(1).tolist() == order
    assert errors_.min(1).max() < 6

  def test_video_tells_number_names_and_size(self, made):
    video = a2d.A2D(made, "train").video("_vid1")
    assert video.frames == tuple(f"{n:05d}" for n in range(1, 13))
    assert video.size == (96, 128)

  def test_encoded_frames_lose_nothing(self, made):
    source = a2d.A2D(made, "train")
    frames = source.read_frames("_vid1", range(12))
    for index in (0, 1, 5):
      data = source.encoded_frame("_vid1", index)
      image = PIL.Image.open(io.BytesIO(data))
      assert image.format == "PNG"
      np.testing.assert_array_equal(np.asarray(image), frames[index])

  def test_no_frames_asked_for(self, made):
    frames = a2d.A2D(made, "train").read_frames("_vid1", [])
    assert frames.shape == (0, 96, 128, 3)

  @pytest.mark.parametrize("clip_folder", ["CLIPS320", "clips320H"])
  def test_both_spellings_of_the_folder(
    self, miniatures, tmp_path, clip_folder
  ):
    root = miniatures.make_a2d(
      tmp_path, train=1, test=0, clip_folder=clip_folder
    )
    source = a2d.A2D(root, "train")
    assert source.read_frames("_vid0", [2]).any()

  def test_can_be_sent_to_another_process(self, made):
    source = a2d.A2D(made, "train")
    source.read_frames("_vid1", [2])
    copy = pickle.loads(pickle.dumps(source))
    assert copy.read_frames("_vid1", [3]).any()

  def test_a_missing_video_is_named(self, root):
    (root / "Release" / "CLIPS320" / "_vid1.mp4").unlink()
    source = a2d.A2D(root, "train")
    for read in (
      lambda: source.video("_vid1"),
      lambda: source.read_frames("_vid1", [0]),
      lambda: source.encoded_frame("_vid1", 0),
    ):
      with pytest.raises(errors.UserError, match="a2d video '_vid1'.*vid1.mp4"):
        read()

  def test_a_frame_beyond_the_end_is_named(self, made):
    with pytest.raises(errors.UserError, match="'_vid1'.*vid1.mp4.*12 frames"):
      a2d.A2D(made, "train").read_frames("_vid1", [12])


class TestMasks:
  def test_are_those_of_the_clips(self, made):
    for split in ("train", "test"):
      source = a2d.A2D(made, split)
      counts = set()
      for e in source.expressions:
        truth = clip_of(e.video).masks[:, e.frame]
        mask = source.read_masks(e, [e.frame])
        assert mask.shape == (1, 96, 128) and mask.dtype == bool
        np.testing.assert_array_equal(mask[0], truth[IDS.index(*e.object_ids)])
        counts.add(len(source.objects(e.video, e.frame)))
      assert 1 in counts and max(counts) > 1

  def check(self, root, words, frame=None):
    """Reading the first mask fails, naming the expression and `words`."""
    source = a2d.A2D(root, "train")
    e = source.expressions[0]
    with pytest.raises(errors.UserError) as raised:
      source.read_masks(e, [e.frame if frame is None else frame])
    for word in ("a2d", e.video, *words):
      assert word in str(raised.value)

  def first(self, root):
    return a2d.A2D(root, "train").expressions[0]

  def test_a_frame_without_annotation(self, root):
    self.check(root, ["00001.h5"], frame=0)
    h5_of(root, self.first(root)).unlink()
    self.check(root, ["00002.h5"])

  def test_an_absent_instance(self, root):
    with h5py.File(h5_of(root, self.first(root)), "r+") as file:
      file["instance"][:] += 40
    self.check(root, [self.first(root).key, "00002.h5", "no instance"])

  def test_a_mask_of_another_size(self, root):
    with h5py.File(h5_of(root, self.first(root)), "r+") as file:
      masks = file["reMask"][:]
      del file["reMask"]
      file["reMask"] = masks[..., :-1]
    self.check(root, [self.first(root).key, "00002.h5", "(95, 128)"])

  def test_an_annotated_frame_beyond_the_end(self, root):
    examples = json.loads(list_of(root, "train").read_text())
    examples[0][2] = 13
    list_of(root, "train").write_text(json.dumps(examples))
    words = [self.first(root).key, "frame 13", "_vid0.mp4 has 12 frames"]
    self.check(root, words)
    with pytest.raises(errors.UserError, match=self.first(root).key):
      a2d.A2D(root, "train").video("_vid0")


class TestOpening:
  def test_an_unknown_split(self, made):
    with pytest.raises(errors.UserError, match="a2d split 'valid'"):
      a2d.A2D(made, "valid")

  def test_no_clips(self, tmp_path):
    with pytest.raises(errors.UserError, match="clips320H"):
      a2d.A2D(tmp_path, "train")

  def test_missing_lists_are_made_and_not_stored(self, root):
    for split in ("train", "test"):
      before = a2d.A2D(root, split).expressions
      list_of(root, split).unlink()
      assert a2d.A2D(root, split).expressions == before
      assert not list_of(root, split).exists()
