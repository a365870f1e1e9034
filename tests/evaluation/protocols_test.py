"""Every data set has a protocol, and its folder is recognised."""

import importlib
import json
import pickle

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import protocols
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.input_pipeline.built import index
from sgmg_jax.input_pipeline.sets import registry


def test_every_data_set_has_a_protocol():
  assert set(protocols.PROTOCOLS) == set(registry.NAMES)
  for name, protocol in protocols.PROTOCOLS.items():
    module = f"sgmg_jax.evaluation.{protocol.module}"
    assert importlib.import_module(module).score
    splits = registry.about(name).splits[name]
    assert protocol.split in splits or not splits
  with pytest.raises(UserError, match="data set 'x': expected one of"):
    protocols.get("x")


@pytest.mark.parametrize(
  "name, options, split",
  [
    ("refer_davis", {"num_frames": 1}, "valid"),
    ("mevis", {"num_frames": 1, "train": 1}, "valid_u"),
    ("own", {"num_frames": 1, "train": 0}, "valid"),
    ("jhmdb", {"videos": 1}, "test"),
  ],
)
def test_data_sets_are_recognised(name, options, split, miniatures, tmp_path):
  root = getattr(miniatures, f"make_{name}")(tmp_path, **options)
  truth = protocols.find_truth(root)
  assert (truth.name, truth.split) == (name, split)
  again = pickle.loads(pickle.dumps(truth))
  assert again.source.expressions == truth.source.expressions
  assert pickle.loads(pickle.dumps(truth)) is again


@pytest.mark.parametrize("num_videos, name", [(202, "refer_ytvos"), (9, "own")])
def test_ytvos_is_known_by_its_number_of_videos(num_videos, name, tmp_path):
  videos = {
    str(i): {"expressions": {"0": {"exp": "x"}}, "frames": ["0"]}
    for i in range(num_videos)
  }
  path = tmp_path / "meta_expressions/valid/meta_expressions.json"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps({"videos": videos}))
  assert truth_lib.recognise(tmp_path) == name


def test_sister_sets_are_ambiguous(miniatures, tmp_path):
  root = miniatures.make_refcoco(
    tmp_path, images=1, datasets=("refcoco", "refcocog")
  )
  with pytest.raises(UserError, match="holds refcoco, refcocog; name the one"):
    protocols.find_truth(root)
  assert protocols.find_truth(root, "refcocog").split == "val"


def test_a_built_set_is_recognised(tmp_path):
  for name in ("a2d", "jhmdb"):
    folder = tmp_path / name / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    first_line = f'{{"name": "{name}",\n'
    (folder / index.file_name("test")).write_text(first_line)
  assert truth_lib.recognise(tmp_path / "a2d") == "a2d"
  with pytest.raises(UserError, match="built were a2d, jhmdb; name the one"):
    truth_lib.recognise(tmp_path)


def test_splits_of_own_data_may_be_ambiguous(tmp_path):
  for split in ("train", "test", "valid"):
    (tmp_path / "meta_expressions" / split).mkdir(parents=True)
  with pytest.raises(UserError, match="test, train, valid; name the one"):
    protocols.find_truth(tmp_path, "own")
  assert protocols.find_truth(tmp_path, "own", "test").split == "test"


def test_what_is_no_data_set(tmp_path):
  with pytest.raises(UserError, match="no data set; looked for"):
    protocols.find_truth(tmp_path)
  with pytest.raises(UserError, match="x: no such folder"):
    protocols.find_truth(tmp_path / "x")
  with pytest.raises(UserError, match="refshapes is drawn"):
    protocols.find_truth(tmp_path, "refshapes")
