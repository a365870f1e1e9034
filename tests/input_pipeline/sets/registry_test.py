"""Names open the right reader; wrong ones say what was expected."""

import subprocess
import sys
import types

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.sets import registry


@pytest.mark.parametrize(
  "name, maker, split",
  [
    ("refer_ytvos", "make_refer_ytvos", "train"),
    ("refer_davis", "make_refer_davis", "valid"),
    ("mevis", "make_mevis", "valid_u"),
    ("own", "make_own", "valid"),
    ("a2d", "make_a2d", "train"),
    ("jhmdb", "make_jhmdb", "test"),
    ("refcoco", "make_refcoco", "train"),
    ("refcoco+", "make_refcoco", "val"),
    ("refcocog", "make_refcoco", "val"),
  ],
)
def test_names_open_their_readers(miniatures, tmp_path, name, maker, split):
  root = getattr(miniatures, maker)(tmp_path)
  source = registry.open_source(name, root, split)
  assert (source.name, source.split) == (name, split)
  expression = source.expressions[0]
  index = expression.frame or 0
  height, width = source.video(expression.video).size
  masks = source.read_masks(expression, [index])
  assert masks.shape == (1, height, width)


@pytest.mark.parametrize("folder", [None, "none"])
def test_refshapes_needs_no_folder(tmp_path, folder):
  path = folder and tmp_path / folder
  source = registry.open_source("refshapes", path, "val", num_clips=2)
  assert len(source.expressions) == 8


def test_options_reach_the_reader(miniatures, tmp_path):
  root = miniatures.make_refer_ytvos(tmp_path)
  with pytest.raises(UserError, match="expected 202"):
    registry.open_source("refer_ytvos", root, "valid", strict=True)
  with pytest.raises(UserError, match="refer_ytvos: .*'colour'"):
    registry.open_source("refer_ytvos", root, "valid", colour="red")


def test_unknown_name_and_folder(tmp_path):
  with pytest.raises(UserError, match="'davis': expected one of refer_ytvos"):
    registry.open_source("davis", tmp_path, "train")
  for path in (None, tmp_path / "none"):
    with pytest.raises(UserError, match="no such folder, .* data set mevis"):
      registry.open_source("mevis", path, "train")


def test_a_built_data_set_comes_first(monkeypatch, tmp_path):
  built = types.SimpleNamespace(
    is_built=lambda path, name: name == "mevis" and path == tmp_path,
    BuiltSource=lambda path, split, name: ("built", path, split, name),
  )
  monkeypatch.setattr(registry, "_built", lambda: built)
  opened = registry.open_source("mevis", tmp_path, "train")
  assert opened == ("built", tmp_path, "train", "mevis")
  with pytest.raises(UserError, match="takes no options; got version"):
    registry.open_source("mevis", tmp_path, "train", version=2)
  with pytest.raises(UserError, match="meta_expressions.json: no such file"):
    registry.open_source("own", tmp_path, "train")


def test_readers_of_other_data_sets_are_not_imported():
  code = (
    "import sys\n"
    "from sgmg_jax.input_pipeline.sets import registry\n"
    "registry.open_source('refshapes', None, 'val')\n"
    "heavy = {'jax', 'h5py', 'tensorflow', 'tensorflow_datasets', 'av'}\n"
    "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
