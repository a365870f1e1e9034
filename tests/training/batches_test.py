"""Every config's data, in miniature."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from sgmg_jax.cli import train
from sgmg_jax.errors import UserError
from sgmg_jax.training import batches as batches_lib
from sgmg_jax.training import sharding as sharding_lib

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
WORDS = {}


class Tokenizer:
  """Numbers words as it meets them."""

  pad_token_id = 0

  def __call__(self, text, **kwargs):
    del kwargs
    words = text.split()
    return {"input_ids": [WORDS.setdefault(w, len(WORDS) + 1) for w in words]}


def _on_one_device():
  return sharding_lib.batch(sharding_lib.make_mesh(1, data=1))


@pytest.fixture(scope="module")
def root(miniatures, tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  for name in ("refer_ytvos", "refer_davis", "a2d", "refcoco"):
    getattr(miniatures, f"make_{name}")(folder)
  return folder


def _config(spec, root):
  return train.load_config(f"{CONFIGS}/{spec}", [f"--config.data.root={root}"])


@pytest.mark.parametrize(
  "spec, num_annotated",
  [
    ("refer_ytvos.py:runlocal", None),
    ("refer_ytvos.py:runlocal,mix=joint", None),
    ("refer_ytvos.py:runlocal,mix=joint_coco", None),
    ("refer_ytvos.py:runlocal,mix=ytvos_joint_davis", None),
    ("refcoco_pretrain.py:runlocal", None),
    ("a2d.py:runlocal", 1),
  ],
)
def test_batches_of_every_config(root, spec, num_annotated):
  config = _config(spec, root)
  source = batches_lib.open_data(config)
  batches = source.start(Tokenizer(), _on_one_device())
  batch = next(batches)
  batches.close()
  b, t = config.data.batch_size, config.data.num_frames
  k = num_annotated or t
  assert batch.frames.shape[2:4] in source.shapes
  assert batch.frames.shape[:2] == (b, t)
  assert batch.frames.dtype == np.float32
  assert batch.tokens.shape == (b, config.tokenizer.max_tokens)
  assert batch.token_valid.any(1).all()
  assert batch.targets.masks.shape == (b, k, *batch.frames.shape[2:4])
  assert (batch.annotated is None) == (num_annotated is None)
  assert source.position["step"] == 1
  assert source.steps_per_epoch > 1
  for leaf in jax.tree.leaves(batch):
    assert leaf.shape[0] == b


def test_several_sentences_of_a_clip_are_rows_of_their_own(root):
  config = _config("refer_ytvos.py:runlocal", root)
  assert config.data.expressions_per_clip == 1
  config.data.expressions_per_clip = 3
  source = batches_lib.open_data(config)
  sharding = _on_one_device()
  batches = source.start(Tokenizer(), sharding)
  batch = next(batches)
  batches.close()
  assert batch.frames.shape[0] == 2 and batch.tokens.shape[0] == 6
  assert batch.targets.masks.shape[0] == 6
  assert batch.expression_valid.shape == (2, 3)
  seen = np.any(batch.targets.valid, 1).reshape(2, 3)
  np.testing.assert_array_equal(batch.expression_valid, seen)
  asked = np.any(batch.token_valid, 1).reshape(2, 3)
  assert asked[:, 0].all() and not (batch.expression_valid & ~asked).any()


def test_rows_that_only_fill_have_no_words_and_others_must(root):
  config = _config("refer_ytvos.py:runlocal", root)
  config.data.expressions_per_clip = 3
  clips = next(iter(batches_lib.open_data(config)._pipe))
  changed = dict(
    expressions=["a dog", "", "", "a cat", "a hat", ""],
    expression_valid=np.array([[1, 0, 0], [1, 0, 0]], bool),
  )
  arguments = Tokenizer(), 8, _on_one_device(), lambda text: None
  batch = batches_lib.to_batch(
    dataclasses.replace(clips, **changed), *arguments
  )
  words = np.asarray(batch.token_valid).any(1)
  assert words.tolist() == [True, False, False, True, True, False]
  changed["expression_valid"] = np.ones((2, 3), bool)
  with pytest.raises(UserError, match="is empty: expected a sentence"):
    batches_lib.to_batch(dataclasses.replace(clips, **changed), *arguments)


def test_davis_is_listed_five_times(root):
  source = batches_lib.open_data(
    _config("refer_ytvos.py:runlocal,mix=ytvos_joint_davis", root)
  )
  listed = {name: times for name, _, times in source.position["plan"]["data"]}
  assert listed == {"refer_davis train": 5, "refer_ytvos train": 1}


def test_missing_data_are_named(tmp_path):
  with pytest.raises(UserError, match="refer_youtube_vos"):
    batches_lib.open_data(_config("refer_ytvos.py:runlocal", tmp_path))
  config = _config("refer_ytvos.py:runlocal", tmp_path)
  config.data.kind = "videos"
  with pytest.raises(UserError, match="data.kind"):
    batches_lib.open_data(config)


def test_long_sentences_are_truncated_warned_of_once_and_counted(root, caplog):
  config = _config("refer_ytvos.py:runlocal", root)
  config.tokenizer.max_tokens = 2
  source = batches_lib.open_data(config)
  batches = source.start(Tokenizer(), _on_one_device())
  tokens = [next(batches).token_valid for _ in range(2)]
  batches.close()
  assert all(valid.shape == (2, 2) and valid.all() for valid in tokens)
  said = [r.message for r in caplog.records if "tokens" in r.message]
  assert len(said) == 1 and "the model takes 2" in said[0]
  assert [source.truncations.take() for _ in range(2)] == [4, 0]


@pytest.mark.parametrize(
  "spec, backwards",
  [
    ("refer_ytvos", {"refer_ytvos train": 0.3}),
    (
      "refer_ytvos:mix=ytvos_joint_davis",
      {"refer_davis train": 0.0, "refer_ytvos train": 0.3},
    ),
    ("a2d", {"a2d train": 0.0}),
  ],
)
def test_only_ytvos_runs_backwards(root, spec, backwards):
  source = batches_lib.open_data(
    train.load_config(spec, [f"--config.data.root={root}"])
  )
  assert backwards == {
    f"{d.source.name} {d.source.split}": d.recipe.sampler.reverse
    for d in source._pipe._loader.data_sets
  }
  # Positions that were saved before there was the setting go on.
  assert "reverse" not in source.position["plan"]


def test_own_data_run_forwards_in_any_config(miniatures, tmp_path):
  miniatures.make_own(tmp_path)
  overrides = [
    f"--config.data.root={tmp_path}",
    "--config.data.sets=(('own','own',1),)",
  ]
  for reverse, expected in ((), 0.0), (("--config.data.reverse.own=0.5",), 0.5):
    config = train.load_config("refer_ytvos", [*overrides, *reverse])
    source = batches_lib.open_data(config)
    (data_set,) = source._pipe._loader.data_sets
    assert data_set.recipe.sampler.reverse == expected
    assert source.position["plan"]["reverse"] == {"own": expected}


@pytest.mark.parametrize(
  "value, message",
  [
    ({"own": 1.5}, "data.reverse.own = 1.5: expected a probability"),
    ({"a2d": 0.1}, "a2d has no clips to reverse, .*refer_ytvos.*own"),
  ],
)
def test_bad_reverse_is_named(root, value, message):
  config = _config("refer_ytvos.py:runlocal", root)
  config.data.reverse = ConfigDict(value)
  with pytest.raises(UserError, match=message):
    batches_lib.open_data(config)
