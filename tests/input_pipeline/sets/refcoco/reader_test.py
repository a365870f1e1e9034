"""RefCOCO, RefCOCO+ and RefCOCOg from their raw folders."""

import json
import logging
import math
import shutil

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.ops import boxes as boxes_lib
from sgmg_jax.input_pipeline.refshapes import dataset as refshapes
from sgmg_jax.input_pipeline.sets.refcoco import convert
from sgmg_jax.input_pipeline.sets.refcoco import reader as refcoco


@pytest.fixture(scope="module")
def made(miniatures, tmp_path_factory):
  return miniatures.make_refcoco(tmp_path_factory.mktemp("refcoco"))


@pytest.fixture
def root(made, tmp_path):
  """A copy to break."""
  return shutil.copytree(made, tmp_path / "coco")


def open_train(root, **options):
  return refcoco.RefCOCO(root, "train", dataset="refcoco", **options)


def clip_of(video):
  """The RefShapes clip that an image was made from."""
  index = int(video.rsplit("_", 1)[1]) - 101
  height, width = (96, 128) if index % 2 == 0 else (128, 96)
  return refshapes.generate_clip(
    "val", index, num_frames=1, height=height, width=width
  )


def edit(root, change):
  """Changes the annotation of the first expression of the training set."""
  e = open_train(root).expressions[0]
  path = root / "refcoco" / "instances.json"
  instances = json.loads(path.read_text())
  (annotation,) = [
    a for a in instances["annotations"] if (a["id"],) == e.object_ids
  ]
  change(annotation)
  path.write_text(json.dumps(instances))


ALL = [(d, split) for d, splits in convert.SPLITS.items() for split in splits]


class TestExpressions:
  @pytest.mark.parametrize("dataset, split", ALL)
  def test_are_the_sentences_of_the_refs_in_order(self, made, dataset, split):
    source = refcoco.RefCOCO(made, split, dataset=dataset)
    assert (source.name, source.split) == (dataset, split)
    refs = convert.read_refs(convert.refs_file(made, dataset))
    expected = [
      (
        sentence["sent"],
        f"COCO_train2014_{ref['image_id']:012d}",
        ref["ann_id"],
      )
      for ref in refs
      if ref["split"] == split
      for sentence in ref["sentences"]
    ]
    assert expected
    assert [
      (e.text, e.video, *e.object_ids) for e in source.expressions
    ] == expected
    assert [e.id for e in source.expressions] == [
      str(n) for n in range(1, len(expected) + 1)
    ]
    assert {e.frame for e in source.expressions} == {0}

  def test_converted_examples_give_the_same(self, miniatures, root):
    sources = [refcoco.RefCOCO(root, s, dataset=d) for d, s in ALL]
    miniatures.make_converted(root)
    for dataset in convert.SPLITS:
      convert.refs_file(root, dataset).unlink()
      (root / dataset / "instances.json").unlink()
    for raw, (dataset, split) in zip(sources, ALL):
      converted = refcoco.RefCOCO(root, split, dataset=dataset)
      assert converted.expressions == raw.expressions
      for e in raw.expressions:
        np.testing.assert_array_equal(
          converted.read_masks(e, [0]), raw.read_masks(e, [0])
        )
        np.testing.assert_array_equal(converted.box(e), raw.box(e))

  def test_excluded_images_leave_the_others_their_ids(self, made):
    everything = open_train(made).expressions
    kept = open_train(made, exclude_images={101}).expressions
    assert kept == tuple(e for e in everything if not e.video.endswith("101"))
    assert 0 < len(kept) < len(everything)

  def test_an_empty_sentence_warns(self, miniatures, root, caplog):
    miniatures.make_converted(root)
    path = convert.examples_file(root, "refcoco", "train")
    content = json.loads(path.read_text())
    content["images"][2]["caption"] = ""
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
      open_train(root)
    assert "expression 3" in caplog.text


class TestPictures:
  def test_images_are_videos_of_one_frame(self, made):
    source = open_train(made)
    for e in source.expressions:
      video, clip = source.video(e.video), clip_of(e.video)
      assert video.frames == (e.video,)
      assert video.size == clip.frames.shape[1:3]
      frame = source.read_frames(e.video, [0, 0])
      assert frame.shape == (2, *video.size, 3)
      difference = np.abs(frame[0].astype(float) - clip.frames[0])
      assert difference.mean() < 3

  def test_masks_are_those_of_the_clips(self, made):
    """But for notches, since the polygons are hulls."""
    source = open_train(made)
    for e in source.expressions:
      clip = clip_of(e.video)
      truth = clip.masks[e.object_ids[0] % 90, 0]
      (mask,) = source.read_masks(e, [0])
      assert mask.shape == truth.shape and mask.dtype == bool
      assert (mask & truth).sum() >= 0.95 * truth.sum()
      x1, y1, x2, y2 = boxes_lib.from_masks(truth)
      np.testing.assert_allclose(source.box(e), [x1, y1, x2 + 1, y2 + 1])

  def test_a_mask_is_the_union_of_its_polygons(self, root):
    polygons = [
      [2.0, 2.0, 40.0, 2.0, 40.0, 30.0, 2.0, 30.0],
      [30.0, 20.0, 90.0, 20.0, 90.0, 60.0, 30.0, 60.0],
    ]
    edit(root, lambda a: a.update(segmentation=polygons))
    source = open_train(root)
    (mask,) = source.read_masks(source.expressions[0], [0])
    expected = np.zeros(mask.shape, bool)
    expected[2:30, 2:40] = expected[20:60, 30:90] = True
    np.testing.assert_array_equal(mask, expected)

  def test_a_triangle_as_another_library_draws_it(self, root):
    polygon = [10.0, 5.0, 80.0, 30.0, 25.0, 85.0]
    edit(root, lambda a: a.update(segmentation=[polygon]))
    source = open_train(root)
    (mask,) = source.read_masks(source.expressions[0], [0])
    image = PIL.Image.new("1", mask.shape[::-1])
    PIL.ImageDraw.Draw(image).polygon(polygon, fill=1)
    drawn = np.asarray(image)
    assert (mask & drawn).sum() > 0.95 * (mask | drawn).sum()

  @pytest.mark.parametrize(
    "change",
    [
      {"segmentation": []},
      {"iscrowd": 1, "segmentation": {"size": [96, 128], "counts": [0, 12288]}},
    ],
  )
  def test_crowds_and_missing_polygons_are_no_instance(self, root, change):
    edit(root, lambda a: a.update(change))
    source = open_train(root)
    e = source.expressions[0]
    assert not source.read_masks(e, [0]).any()
    assert source.box(e) is None

  def test_boxes_are_cut_to_the_image(self, root):
    edit(root, lambda a: a.update(bbox=[-3.5, 10.25, 400, 20.5]))
    source = open_train(root)
    box = source.box(source.expressions[0])
    assert box.dtype == np.float32
    assert box.tolist() == [0, 10.25, 128, 30.75]

  @pytest.mark.parametrize("bbox", [[200, 10, 5, 5], [5, 5, 0, 10]])
  def test_a_box_outside_or_without_extent_is_none(self, root, bbox):
    edit(root, lambda a: a.update(bbox=bbox))
    source = open_train(root)
    assert source.box(source.expressions[0]) is None


class TestErrors:
  def test_unknown_names(self, made):
    with pytest.raises(errors.UserError, match="'refcocos'"):
      refcoco.RefCOCO(made, "train", dataset="refcocos")
    with pytest.raises(errors.UserError, match="refcocog split 'testA'"):
      refcoco.RefCOCO(made, "testA", dataset="refcocog")

  def test_no_images(self, root):
    shutil.rmtree(root / "train2014")
    with pytest.raises(errors.UserError, match="train2014: no such folder"):
      open_train(root)

  @pytest.mark.parametrize("file", ["refs(unc).p", "instances.json"])
  def test_a_missing_annotation_file(self, root, file):
    (root / "refcoco" / file).unlink()
    with pytest.raises(errors.UserError) as raised:
      open_train(root)
    assert f"refcoco/{file}" in str(raised.value)

  def test_a_missing_image(self, root):
    source = open_train(root)
    name = source.expressions[0].video
    (root / "train2014" / f"{name}.jpg").unlink()
    for read in (
      lambda: source.video(name),
      lambda: source.encoded_frame(name, 0),
      lambda: source.read_frames(name, [0]),
    ):
      with pytest.raises(errors.UserError, match=f"{name}.*{name}.jpg"):
        read()

  def test_an_image_of_another_size(self, root):
    source = open_train(root)
    name = source.expressions[0].video
    PIL.Image.new("RGB", (64, 64)).save(root / "train2014" / f"{name}.jpg")
    with pytest.raises(errors.UserError, match=f"{name}.*64x64.* 96x128"):
      source.read_frames(name, [0])

  def test_what_the_split_does_not_have(self, made):
    source = open_train(made)
    with pytest.raises(errors.UserError, match="'x': not in split 'train'"):
      source.video("x")
    with pytest.raises(errors.UserError, match="frame 1, expected 0"):
      source.objects(source.expressions[0].video, 1)

  @pytest.mark.parametrize(
    "change, message",
    [
      ({"segmentation": [[1, 2, 3, 4]]}, "polygon"),
      ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "polygon"),
      ({"segmentation": {"size": [1, 1], "counts": ""}}, "polygon"),
      ({"segmentation": [[1, 2, 3, 4, 5, math.nan]]}, "polygon"),
      ({"segmentation": [[1, 2, 3, 4, 5, -math.inf]]}, "polygon"),
      ({"segmentation": [[1, 2, 3, 4, 5, 1e12]]}, "polygon"),
      ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "polygon"),
      ({"bbox": [1, 2]}, "bbox"),
    ],
  )
  def test_malformed_annotations(self, root, change, message):
    edit(root, lambda a: a.update(change))
    with pytest.raises(errors.UserError, match=message) as raised:
      open_train(root)
    assert "000101.jpg', expression 1" in str(raised.value)

  @pytest.mark.parametrize("field", ["caption", "original_id", "height"])
  def test_examples_without_a_field(self, miniatures, root, field):
    miniatures.make_converted(root)
    path = convert.examples_file(root, "refcoco", "train")
    content = json.loads(path.read_text())
    del content["images"][0][field]
    path.write_text(json.dumps(content))
    with pytest.raises(errors.UserError, match=f"train.json: .*{field}"):
      open_train(root)

  def test_examples_without_an_annotation(self, miniatures, root):
    miniatures.make_converted(root)
    path = convert.examples_file(root, "refcoco", "train")
    content = json.loads(path.read_text())
    del content["annotations"][1]
    path.write_text(json.dumps(content))
    with pytest.raises(errors.UserError, match="expression 2: no annotation"):
      open_train(root)
