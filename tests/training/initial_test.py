"""What a run starts from, and what it refuses to start from."""

import logging

import jax
import numpy as np
import pytest
from flax import traverse_util

from sgmg_jax.checkpoints import card, expected_shapes, native
from sgmg_jax.cli import train
from sgmg_jax.errors import UserError
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import initial, loop, optimizer, run_tokenizer

ENCODERS = ("backbone_0/.*", "text_encoder/.*")
SCRATCH = "refer_ytvos:scratch,model=mu"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
  """A converted backbone of the tiny variant, all sevens."""
  variant = variants.get_variant("mu")
  body = jax.tree.map(
    lambda x: np.full(x.shape, 7, x.dtype),
    expected_shapes.part("backbone", variant),
  )
  about = card.make(
    variant, name="swin", source={}, licence="none", part="backbone"
  )
  folder = tmp_path_factory.mktemp("init") / "swin"
  native.save(folder, {"backbone_0": {"body": body}}, about, None)
  return str(folder)


@pytest.fixture
def model(monkeypatch):
  """A tiny model whose random parameters are zeros: nothing to compile."""

  monkeypatch.setattr(
    initial, "_draw", lambda model, seed: _zeros(model.variant)
  )
  return sgmg.SgMg(variants.get_variant("mu"))


def _zeros(variant):
  shapes = expected_shapes.model(variant)
  return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def _init(model, init_from, required=(), reinitialise=()):
  return initial.init_params(
    model,
    seed=0,
    init_from=init_from,
    required=required,
    reinitialise=reinitialise,
    tokenizer=None,
  )


@pytest.mark.parametrize(
  "spec, held",
  [
    ("refcoco_pretrain", "backbone_0/.*, text_encoder/.*"),
    ("refer_ytvos:scratch", "backbone_0/.*, text_encoder/.*"),
    ("refer_ytvos", ".*"),
    ("a2d", ".*"),
    ("finetune_own", ".*"),
  ],
)
def test_recipes_do_not_start_from_nothing(spec, held, tmp_path):
  config = train.load_config(spec)
  with pytest.raises(UserError, match="init_from: expected") as error:
    loop.train(config, tmp_path / "run")
  assert f"which hold {held}; `sgmg convert`" in str(error.value)
  assert not list(tmp_path.glob("run/config.json"))


@pytest.mark.parametrize("spec", ["refer_ytvos", "refcoco_pretrain", "a2d"])
def test_smoke_tests_do(spec):
  config = train.load_config(f"{spec}:runlocal")
  assert initial.resolve(config) is config
  assert config.freeze_random


def test_what_checkpoints_give_is_known(model, backbone):
  params, given = _init(model, backbone)
  flat = traverse_util.flatten_dict(params, sep="/")
  assert given == {name for name in flat if name.startswith("backbone_0/")}
  assert {
    name for name, x in flat.items() if (np.asarray(x) == 7).all()
  } == given
  assert _init(model, "").given == set()


def test_a_required_part_that_no_checkpoint_holds(model, backbone):
  with pytest.raises(UserError, match="init_from = .*swin: lacks text_encod"):
    _init(model, backbone, required=ENCODERS)
  # Without a text encoder among them it is enough.
  _init(model, backbone, required=ENCODERS[:1])


def test_frozen_at_random_is_refused(model, backbone):
  config = train.load_config(SCRATCH)
  groups = config.optimizer.groups
  params, given = _init(model, backbone)
  trainable = optimizer.trainable_mask(params, groups)
  with pytest.raises(UserError, match="text_encoder/.* random .*freeze_random"):
    initial.check_frozen(trainable, given)
  text = {n for n in _names(params) if n.startswith("text_encoder/")}
  initial.check_frozen(trainable, given | text)
  # Redrawn ones are random, too.
  _, given = _init(model, backbone, reinitialise=("backbone_0/.*norm.*",))
  frozen = optimizer.trainable_mask(
    params, (("backbone_0/.*", None), (".*", 1.0))
  )
  with pytest.raises(UserError, match="backbone_0/.*norm.* more would be"):
    initial.check_frozen(frozen, given)


def test_redrawn_heads_are_logged(model, mu_checkpoint, caplog):
  caplog.set_level(logging.INFO, "sgmg_jax")
  params, given = _init(model, str(mu_checkpoint), (".*",), ("class_embed_.*",))
  redrawn = _names(params) - given
  assert redrawn and all(n.startswith("class_embed_") for n in redrawn)
  count = len(redrawn) - 1
  assert "drawn anew, as reinitialise says: class_embed_0/" in caplog.text
  assert f"and {count} more" in caplog.text
  assert f"{len(given)} of {len(given) + count + 1} parameters" in caplog.text


def test_encoders_of_a_checkpoint_start_a_model_of_another_shape(
  monkeypatch, mu_checkpoint
):
  variant = variants.get_variant(
    "mu", num_queries=2, encoder_layers=1, spectral="none"
  )
  others = "(?!backbone_0/|text_encoder/).*"
  monkeypatch.setattr(initial, "_draw", lambda model, seed: _zeros(variant))
  params, given = _init(
    sgmg.SgMg(variant), str(mu_checkpoint), ENCODERS, (others,)
  )
  assert given and all(n.startswith(("backbone", "text_en")) for n in given)
  assert params["query_embed"]["embedding"].shape == (2, 64)
  held = native.load(mu_checkpoint).params["backbone_0"]
  jax.tree.map(np.testing.assert_array_equal, params["backbone_0"], held)
  with pytest.raises(UserError, match="unexpected: input_fft_0/conv1"):
    _init(sgmg.SgMg(variant), str(mu_checkpoint), ENCODERS)


def test_a_pattern_that_selects_nothing(model):
  with pytest.raises(UserError, match="reinitialise: pattern 'class_embed' "):
    _init(model, "", reinitialise=("class_embed",))


def test_sizes_and_all_else_come_from_the_checkpoint():
  config = train.load_config(
    "finetune_own",
    ["--config.init_from=refshapes-mini", "--config.model.dropout=0.25"],
  )
  resolved = initial.resolve(config)
  assert config.model.name == "init_from" and resolved.is_locked
  held = native.read_card("refshapes-mini")
  variant = variants.get_variant(**resolved.model)
  assert variant == variants.replace(
    card.variant_of(held, ""), {"dropout": 0.25}, ""
  )
  assert resolved.tokenizer.source == "refshapes-mini"
  assert resolved.tokenizer.max_tokens == variant.max_tokens == 38
  assert resolved.export.preprocess.to_dict() == card.preprocess_of(held, "")
  assert resolved.export.licence == held["licence"] == "Apache-2.0"
  # 160 / 360 of the paper's sizes.
  assert resolved.data.sizes.shorts == (128, 142, 156, 174, 185, 199, 213, 228)
  assert resolved.data.sizes.longest == 284
  sizes = resolved.data.buckets
  assert len(sizes) == 6 and sizes[-1] == (288, 288)


def test_what_is_set_is_not_taken_from_the_checkpoint():
  overrides = [
    "--config.init_from=refshapes-mini",
    "--config.data.buckets=((160,160),)",
    "--config.export.licence=mine",
    "--config.tokenizer.max_tokens=20",
  ]
  config = initial.resolve(train.load_config("finetune_own", overrides))
  assert config.data.buckets == ((160, 160),)
  assert config.export.licence == "mine" and config.tokenizer.max_tokens == 20


def test_a_part_is_no_model_to_finetune(backbone):
  config = train.load_config("finetune_own", [f"--config.init_from={backbone}"])
  with pytest.raises(UserError, match="swin holds only the backbone part"):
    initial.resolve(config)


@pytest.mark.parametrize("source", ["refshapes-mini", "folder"])
def test_tokenizer_of_a_checkpoint(source, tmp_path):
  if source == "folder":
    source = str(native.locate("refshapes-mini"))
  tokenizer = run_tokenizer.get_tokenizer(
    tmp_path / "tokenizer",
    variants.get_variant("mini"),
    source=source,
    vocab_clips=0,
  )
  assert len(tokenizer) == len(native.load("refshapes-mini").tokenizer)


def _names(params):
  return set(traverse_util.flatten_dict(params, sep="/"))
