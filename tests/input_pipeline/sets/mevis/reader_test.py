"""MeViS reads back, and the mask file is read only where asked."""

import json
import shutil
import threading

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import config, planner
from sgmg_jax.input_pipeline.layouts import mask_dict
from sgmg_jax.input_pipeline.refshapes import dataset, render
from sgmg_jax.input_pipeline.sets.mevis import reader as mevis

MeViS = mevis.MeViS


@pytest.fixture(scope="module")
def root(miniatures, tmp_path_factory):
  return miniatures.make_mevis(tmp_path_factory.mktemp("mevis"))


@pytest.fixture
def copy(root, tmp_path):
  return shutil.copytree(root, tmp_path / "copy")


@pytest.fixture(scope="module")
def outlines():
  """bool[O, T, H, W] of the train videos."""
  found = []
  for k, (height, width) in enumerate([(96, 128), (128, 96)]):
    shape = {"num_frames": 6, "height": height, "width": width}
    scene = dataset.generate_clip("train", k, **shape).scene
    found.append(render.render(scene, **shape).outlines)
  return found


def _rewrite(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def test_reads_back_to_the_outlines(root, outlines):
  source = MeViS(root, "train")
  assert (source.name, source.split) == ("mevis", "train")
  first = 0
  for k, truth in enumerate(outlines):
    name = f"train_{k:06d}"
    assert source.video(name).size == truth.shape[2:]
    assert source.video(name).frames == tuple(f"{t:05d}" for t in range(6))
    for expression in source.expressions:
      if expression.video == name:
        rows = [i - first for i in expression.object_ids]
        np.testing.assert_array_equal(
          source.read_masks(expression, [5, 0, 0]),
          truth[rows].any(0)[[5, 0, 0]],
        )
    for t in range(6):
      described = {
        i
        for e in source.expressions
        if e.video == name
        for i in e.object_ids
        if truth[i - first, t].any()
      }
      objects = source.objects(name, t)
      assert list(objects) == sorted(described)
      for i, mask in objects.items():
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, truth[i - first, t])
    first += len(truth)


def test_the_test_has_overlaps_and_absent_objects(root, outlines):
  assert any((truth.sum(0) > 1).any() for truth in outlines)
  masks = json.loads((root / "train/mask_dict.json").read_text())
  assert any(mask is None for video in masks.values() for mask in video)


def test_sentences_about_several_objects(root, outlines):
  last = MeViS(root, "train").expressions[-1]
  count = len(outlines[0])
  assert last.text == "The two shapes "
  assert last.object_ids == (count, count + 1)


def test_frames_and_masks_keep_the_order_of_the_file(copy):
  before = MeViS(copy, "train")
  expression = before.expressions[0]
  masks = before.read_masks(expression, range(6))
  frames = before.read_frames(expression.video, range(6))
  path = copy / "train/meta_expressions.json"
  _rewrite(path, lambda c: c["videos"]["train_000000"]["frames"].reverse())
  after = MeViS(copy, "train")
  # Masks belong to positions of the list, frames to its names.
  np.testing.assert_array_equal(after.read_masks(expression, range(6)), masks)
  np.testing.assert_array_equal(
    after.read_frames(expression.video, range(6)), frames[::-1]
  )


def test_valid_has_no_ground_truth(root):
  source = MeViS(root, "valid")
  assert {e.object_ids for e in source.expressions} == {()}
  assert source.read_frames("test_000000", [0]).shape == (1, 96, 128, 3)
  with pytest.raises(UserError, match="no public ground truth.*test_000000/0"):
    source.read_masks(source.expressions[0], [0])
  with pytest.raises(UserError, match="no public ground truth.*'test_000000'"):
    source.objects("test_000000", 0)


@pytest.mark.parametrize("split", ["train", "valid_u", "valid"])
def test_version_2(miniatures, tmp_path, root, split):
  second = miniatures.make_mevis(tmp_path, version=2)
  source = MeViS(second, split)
  assert source.expressions == MeViS(second, split, version=2).expressions
  assert source.expressions[-1].text == "the eighth shape"
  with pytest.raises(UserError, match="meta_expressions.json: no such file"):
    MeViS(second, split, version=1)
  # Of both the first.
  file = mevis.FILES[1][split]
  shutil.copy(root / split / file, second / split / file)
  assert MeViS(second, split).expressions == MeViS(root, split).expressions
  assert MeViS(second, split, version=2).expressions == source.expressions


def test_no_target_is_an_empty_mask(miniatures, tmp_path):
  source = MeViS(miniatures.make_mevis(tmp_path, version=2), "valid_u")
  assert source.expressions[-1].object_ids == ()
  masks = source.read_masks(source.expressions[-1], [0, 1])
  assert masks.shape == (2, 96, 128) and not masks.any()


def test_no_target_in_version_1(copy):
  def change(content):
    expression = content["videos"]["train_000000"]["expressions"]["1"]
    expression["anno_id"] = []

  _rewrite(copy / "train/meta_expressions.json", change)
  with pytest.raises(UserError, match="'train_000000' expression '1': `anno"):
    MeViS(copy, "train")


@pytest.mark.parametrize("split", ["train", "valid_u"])
def test_no_object_at_all(copy, split):
  def change(content):
    for video in content["videos"].values():
      for expression in video["expressions"].values():
        del expression["anno_id"]

  _rewrite(copy / split / "meta_expressions.json", change)
  with pytest.raises(UserError, match="_000000' expression '0': .*`anno_id`"):
    MeViS(copy, split)


def test_options_and_missing_files(root, copy):
  with pytest.raises(UserError, match="split 'val'"):
    MeViS(root, "val")
  with pytest.raises(UserError, match="version 3"):
    MeViS(root, "train", version=3)
  (copy / "train/mask_dict.json").unlink()
  with pytest.raises(UserError, match="train/mask_dict.json: no such file"):
    MeViS(copy, "train")
  (copy / "valid_u/meta_expressions.json").unlink()
  with pytest.raises(UserError, match="valid_u/meta_expressions.json: no such"):
    MeViS(copy, "valid_u")


def test_opening_reads_no_mask(copy):
  (copy / "train/mask_dict.json").write_text("not JSON at all")
  source = MeViS(copy, "train")
  assert source.read_frames("train_000000", [0]).shape == (1, 96, 128, 3)
  with pytest.raises(UserError, match="train/mask_dict.json: expected an obj"):
    source.read_masks(source.expressions[0], [0])
  (copy / "train/mask_dict.json").write_bytes(b"")
  with pytest.raises(UserError, match="mask_dict.json: empty"):
    source.read_masks(source.expressions[0], [0])


def test_masks_nested_too_deeply(copy, annotation):
  text = f'{{"{annotation}": {"[" * 100_000}{"]" * 100_000}}}'
  (copy / "train/mask_dict.json").write_text(text)
  assert "not JSON" in _fault(copy)


def _fault(root, frame=0):
  source = MeViS(root, "train")
  expression = source.expressions[0]
  with pytest.raises(UserError) as caught:
    source.read_masks(expression, [frame])
  message = str(caught.value)
  assert f"{root / 'train/mask_dict.json'}: annotation" in message
  return message


def _first(content):
  """The masks of the annotation of the first expression."""
  return content["videos"]["train_000000"]["expressions"]["0"]["anno_id"][0]


@pytest.fixture
def annotation(copy):
  content = json.loads((copy / "train/meta_expressions.json").read_text())
  return str(_first(content))


def test_annotation_without_masks(copy, annotation):
  _rewrite(copy / "train/mask_dict.json", lambda c: c.pop(annotation))
  fault = _fault(copy)
  assert f"annotation {annotation} of mevis" in fault
  assert "train_000000/0" in fault and "missing" in fault


def test_too_few_masks(copy, annotation):
  _rewrite(copy / "train/mask_dict.json", lambda c: c[annotation].pop())
  assert "expected one for frame 5" in _fault(copy, 5)


@pytest.mark.parametrize(
  "mask", [{}, "abc", {"size": [96, 128], "counts": 3}, {"size": 3}]
)
def test_no_run_lengths(copy, annotation, mask):
  def change(content):
    content[annotation][0] = mask

  _rewrite(copy / "train/mask_dict.json", change)
  assert "not a COCO run-length mask" in _fault(copy)


def test_mask_of_another_size(copy, annotation):
  def change(content):
    content[annotation][0] = {"size": [96, 127], "counts": "0"}

  _rewrite(copy / "train/mask_dict.json", change)
  assert "96x127 pixels, expected 96x128" in _fault(copy)


def test_file_cut_short(copy):
  path = copy / "train/mask_dict.json"
  content = path.read_bytes()
  last = max(map(int, json.loads(content)))
  path.write_bytes(content[: content.rindex(b":") - 40])
  masks = mask_dict.MaskDict(path)
  assert masks.decode(0, 0, (96, 128), "x") is not None
  with pytest.raises(UserError, match=f"annotation {last} is not JSON"):
    masks.decode(last, 0, (128, 96), "x")


def test_every_annotation_is_found_however_the_file_is_laid_out(tmp_path):
  # Characters that the run lengths may hold, and JSON escapes.
  tricky = {"size": [2, 2], "counts": "[]\\:0123o"}
  content = {"7": [None, tricky], "12": [tricky] * 3, "0": [None]}
  for k, layout in enumerate(
    ({}, {"indent": 2}, {"separators": (",", ":")}, {"indent": "\t"})
  ):
    path = tmp_path / f"{k}.json"
    path.write_text(json.dumps(content, **layout) + "\n")
    masks = mask_dict.MaskDict(path)
    assert masks.annotations() == (7, 12, 0)
    assert {str(i): masks._parse(i) for i in (0, 7, 12)} == content


def test_threads_read_the_same(root):
  source = MeViS(root, "train")
  expected = [source.read_masks(e, [0, 3]) for e in source.expressions]
  source = MeViS(root, "train")
  wrong = []

  def work():
    for expression, masks in zip(source.expressions, expected):
      if not np.array_equal(source.read_masks(expression, [0, 3]), masks):
        wrong.append(expression)

  threads = [threading.Thread(target=work) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not wrong


@pytest.mark.parametrize("no_target", (True, False))
def test_sentences_without_a_target_reach_training(
  miniatures, tmp_path, no_target
):
  root = miniatures.make_mevis(tmp_path, version=2)
  settings = config.Config(
    root=str(root.parent),
    sets=(("mevis", root.name, 1),),
    batch_size=1,
    num_frames=2,
    buckets=((224, 224),),
    sizes={
      "shorts": (144, 160),
      "recrop_shorts": (144, 160),
      "longest": 224,
      "crop_shorts": (160, 200),
      "min_side": 144,
      "max_side": 200,
    },
    no_target=no_target,
  )
  load = config.open_loader(settings, config.Share("train", True, 0, 1, 3))
  (data_set,) = load.data_sets
  without = [
    index
    for index, sample in enumerate(data_set.samples)
    if not sample.expression.object_ids
  ]
  assert without
  for index in without:
    example, _ = load.load(planner.Row(0, 0, index), (224, 224))
    assert example["valid_row"]
    taken = int(example["index"]) in without
    assert taken == no_target
    assert example["masks"].any() != taken and example["valid"].any() != taken
