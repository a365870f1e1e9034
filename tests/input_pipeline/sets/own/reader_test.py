"""Own data reads back as it was drawn, in any split."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.own.reader import OwnData


@pytest.fixture(scope="module")
def own(miniatures, tmp_path_factory):
  return miniatures.make_own(tmp_path_factory.mktemp("own"))


def test_has_masks_in_any_split(own):
  source = OwnData(own, "valid")
  assert (source.name, source.split) == ("own", "valid")
  clip = dataset.generate_clip("val", 0, num_frames=4, height=96, width=128)
  both = source.expressions[-1]
  assert both.object_ids == (1, 2)
  np.testing.assert_array_equal(
    source.read_masks(both, [0, 3]), (clip.masks[0] | clip.masks[1])[[0, 3]]
  )


def test_takes_any_split_and_image_format(own, tmp_path):
  folder = shutil.copytree(own, tmp_path / "own")
  (folder / "valid").rename(folder / "holdout")
  (folder / "meta_expressions/valid").rename(
    folder / "meta_expressions/holdout"
  )
  source = OwnData(folder, "holdout")
  frames = source.read_frames("val_000000", [0, 1])
  for path in list((folder / "holdout/JPEGImages/val_000000").iterdir()):
    PIL.Image.open(path).save(path.with_suffix(".png"))
    path.unlink()
  source = OwnData(folder, "holdout")
  np.testing.assert_array_equal(
    source.read_frames("val_000000", [0, 1]), frames
  )


def test_without_masks(own, tmp_path):
  folder = shutil.copytree(own, tmp_path / "own")
  path = folder / "meta_expressions/valid/meta_expressions.json"

  content = json.loads(path.read_text())
  for expression in content["videos"]["val_000000"]["expressions"].values():
    del expression["obj_id"]
  path.write_text(json.dumps(content))
  shutil.rmtree(folder / "valid/Annotations")
  source = OwnData(folder, "valid")
  assert source.read_frames("val_000000", [0]).shape == (1, 96, 128, 3)
  with pytest.raises(UserError, match="no ground truth"):
    source.read_masks(source.expressions[0], [0])
