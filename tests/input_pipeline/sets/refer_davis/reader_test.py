"""Ref-DAVIS17 read as downloaded and converted, with and without 480p."""

import json
import logging
import shutil

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.refer_davis import reader as refer_davis

ReferDAVIS = refer_davis.ReferDAVIS
VIDEOS = {
  "train": ["classic-car", "dogs-scale", "boat"],
  "valid": ["motorbike", "blackswan"],
}


@pytest.fixture(scope="module")
def raw(miniatures, tmp_path_factory):
  return miniatures.make_refer_davis(tmp_path_factory.mktemp("davis"))


@pytest.fixture
def copy(raw, tmp_path):
  return shutil.copytree(raw, tmp_path / "copy")


@pytest.fixture(params=["480p", ""])
def converted(miniatures, copy, request):
  """The converted layout alone, with and without the level."""
  miniatures.make_converted(copy)
  davis = copy / "DAVIS"
  for split, videos in VIDEOS.items():
    for ours, theirs in (
      ("JPEGImages", "JPEGImages"),
      ("Annotations", "Annotations_unsupervised"),
    ):
      target = copy / split / ours / request.param
      target.mkdir(parents=True)
      for video in videos:
        (davis / theirs / "480p" / video).rename(target / video)
  shutil.rmtree(davis)
  shutil.rmtree(copy / "davis_text_annotations")
  return copy


def _clip(split, video):
  index = [*VIDEOS["train"], *VIDEOS["valid"]].index(video)
  return dataset.generate_clip(
    "train", index, num_frames=6, height=96, width=128
  )


def _check(source, split):
  assert (source.name, source.split) == ("refer_davis", split)
  assert list(source.frames) == VIDEOS[split]
  for video in VIDEOS[split]:
    clip = _clip(split, video)
    described = {e.object_index: e.text for e in clip.expressions}
    mine = [e for e in source.expressions if e.video == video]
    ids = sorted(i + 1 for i in described)
    assert [e.id for e in mine] == [str(k) for k in range(4 * len(ids))]
    for k, expression in enumerate(mine):
      i = ids[k // 4]
      assert expression.object_ids == (i,)
      assert expression.text == f"à{k % 4} {described[i - 1]}"
      masks = clip.masks[i - 1].copy()
      for rim in (masks[:, :3], masks[:, -3:]):
        rim[:] = False
      for rim in (masks[:, :, :3], masks[:, :, -3:]):
        rim[:] = False
      np.testing.assert_array_equal(
        source.read_masks(expression, range(6)), masks
      )
    frames = source.read_frames(video, [5, 0]).astype(int)
    assert np.abs(frames - clip.frames[[5, 0]]).mean() < 8


@pytest.mark.parametrize("split", ["train", "valid"])
def test_as_downloaded(raw, split):
  _check(ReferDAVIS(raw, split), split)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_without_the_level_480p(miniatures, tmp_path, split):
  _check(
    ReferDAVIS(miniatures.make_refer_davis(tmp_path, level=""), split), split
  )


@pytest.mark.parametrize("split", ["train", "valid"])
def test_converted(converted, split):
  _check(ReferDAVIS(converted, split), split)


def test_masks_as_the_official_evaluator_wants_them(converted):
  folder = converted / "valid"
  (folder / "Annotations").rename(folder / "Annotations_unsupervised")
  _check(ReferDAVIS(converted, "valid"), "valid")


def test_converted_expressions_beside_raw_frames(miniatures, copy):
  miniatures.make_converted(copy)
  shutil.rmtree(copy / "davis_text_annotations")
  _check(ReferDAVIS(copy, "valid"), "valid")


def test_void_is_no_object_but_a_label(raw):
  source = ReferDAVIS(raw, "valid")
  labels = source.labels("blackswan", 2)
  assert (labels[:3] == 255).all() and (labels[:, -3:] == 255).all()
  objects = source.objects("blackswan", 2)
  assert set(objects) == set(np.unique(labels)) - {0, 255}


def test_an_object_that_masks_lack_gives_empty_masks(miniatures, copy):
  miniatures.make_converted(copy)
  path = copy / "meta_expressions/valid/meta_expressions.json"
  content = json.loads(path.read_text())
  for expression in content["videos"]["blackswan"]["expressions"].values():
    expression["obj_id"] = "17"
  path.write_text(json.dumps(content))
  source = ReferDAVIS(copy, "valid")
  assert not source.read_masks(source.expressions[-1], [0, 1]).any()


@pytest.mark.parametrize("object_id", ["255", "0"])
def test_void_cannot_be_described(miniatures, copy, object_id):
  miniatures.make_converted(copy)
  path = copy / "meta_expressions/valid/meta_expressions.json"
  content = json.loads(path.read_text())
  content["videos"]["blackswan"]["expressions"]["0"]["obj_id"] = object_id
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match="'blackswan' .*from 1 to 254"):
    ReferDAVIS(copy, "valid")


def test_expressions_not_in_fours(miniatures, copy):
  miniatures.make_converted(copy)
  path = copy / "meta_expressions/valid/meta_expressions.json"
  content = json.loads(path.read_text())
  expressions = content["videos"]["motorbike"]["expressions"]
  count = len(expressions)
  del expressions[str(count - 1)]
  path.write_text(json.dumps(content))
  with pytest.raises(
    UserError, match=f"'motorbike' has {count - 1} expressions.* multiple of 4"
  ):
    ReferDAVIS(copy, "valid")


def test_what_is_missing(raw, copy, tmp_path):
  with pytest.raises(UserError, match="'val': expected train or valid"):
    ReferDAVIS(raw, "val")
  shutil.rmtree(copy / "DAVIS/Annotations_unsupervised")
  with pytest.raises(UserError, match="s_unsupervised: no such folder"):
    ReferDAVIS(copy, "train")
  shutil.rmtree(copy / "DAVIS/JPEGImages")
  with pytest.raises(UserError, match="JPEGImages/classic-car: no JPEG"):
    ReferDAVIS(copy, "train")
  with pytest.raises(UserError, match="folder davis_text_annotations as down"):
    ReferDAVIS(tmp_path, "train")


def test_reading_writes_nothing(copy):
  before = sorted(copy.rglob("*"))
  source = ReferDAVIS(copy, "train")
  source.read_masks(source.expressions[0], [0])
  assert sorted(copy.rglob("*")) == before


def test_miniature_is_converted_without_complaint(raw, caplog):
  with caplog.at_level(logging.WARNING):
    ReferDAVIS(raw, "train")
  assert not caplog.text
