"""The on-disk layout reads back to what was generated."""

import json

import numpy as np
import pytest
from PIL import Image

from sgmg_jax import errors
from sgmg_jax.input_pipeline.refshapes import dataset, ytvos_writer

SIZE = {"num_frames": 3, "height": 48, "width": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp("refshapes")
  ytvos_writer.write_ytvos(root, "train", [0, 1, 4], **SIZE)
  ytvos_writer.write_ytvos(root, "val", [2], **SIZE)
  return root


def test_reads_back_to_equal_masks_and_sentences(root):
  content = json.loads(
    (root / "meta_expressions/train/meta_expressions.json").read_text()
  )
  assert list(content["videos"]) == [
    "train_000000",
    "train_000001",
    "train_000004",
  ]
  for name, video in content["videos"].items():
    clip = dataset.generate_clip("train", int(name[-6:]), **SIZE)
    assert video["frames"] == ["00000", "00005", "00010"]
    assert list(video["expressions"]) == [
      str(k) for k in range(len(clip.expressions))
    ]
    labels = []
    for t, frame in enumerate(video["frames"]):
      annotation = Image.open(root / f"train/Annotations/{name}/{frame}.png")
      assert annotation.mode == "P"
      labels.append(np.asarray(annotation))
      image = np.asarray(
        Image.open(root / f"train/JPEGImages/{name}/{frame}.jpg")
      )
      assert image.shape == clip.frames[t].shape
      # JPEG is lossy, most of all at edges of saturated colours.
      assert np.abs(image.astype(int) - clip.frames[t]).mean() < 6
    labels = np.stack(labels)
    for i, mask in enumerate(clip.masks):
      np.testing.assert_array_equal(labels == i + 1, mask)
    assert set(np.unique(labels)) <= set(range(len(clip.masks) + 1))
    for expression, entry in zip(
      clip.expressions, video["expressions"].values()
    ):
      assert entry == {
        "exp": expression.text,
        "obj_id": str(expression.object_index + 1),
      }


def test_meta_lists_objects_with_the_frames_that_show_them(root):
  meta = json.loads((root / "train/meta.json").read_text())
  for name, video in meta["videos"].items():
    clip = dataset.generate_clip("train", int(name[-6:]), **SIZE)
    for key, entry in video["objects"].items():
      index = int(key) - 1
      assert entry["category"] == clip.scene.bodies[index].shape
      shown = clip.masks[index].any((1, 2))
      assert len(entry["frames"]) == shown.sum() > 0


def test_validation_folder_is_called_valid(root):
  assert (root / "valid/JPEGImages/val_000002/00000.jpg").exists()
  assert (root / "meta_expressions/valid/meta_expressions.json").exists()
  assert sorted(p.name for p in root.iterdir()) == [
    "meta_expressions",
    "train",
    "valid",
  ]


def test_palette_is_that_of_pascal_voc(root):
  image = Image.open(root / "train/Annotations/train_000000/00000.png")
  assert image.getpalette()[:15] == [
    *(0, 0, 0),
    *(128, 0, 0),
    *(0, 128, 0),
    *(128, 128, 0),
    *(0, 0, 128),
  ]


def test_existing_split_is_never_overwritten(root):
  with pytest.raises(errors.UserError, match="train: exists"):
    ytvos_writer.write_ytvos(root, "train", [0], **SIZE)


def test_failure_leaves_nothing_under_final_names(tmp_path):
  with pytest.raises(errors.UserError, match="index -1"):
    ytvos_writer.write_ytvos(tmp_path, "test", [0, -1], **SIZE)
  assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
  assert not (tmp_path / "test").exists()
  with pytest.raises(errors.UserError, match="split 'dev'"):
    ytvos_writer.write_ytvos(tmp_path, "dev", [0], **SIZE)
