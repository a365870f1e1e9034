"""Published weights to parameters."""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from sgmg_jax import errors
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.checkpoints.torch import convert, names
from sgmg_jax.checkpoints.torch import files as torch_file
from sgmg_jax.model import text_encoder, variants, window_attention

torch = pytest.importorskip("torch")

MU = variants.get_variant("mu")
TEXT = "text_encoder.text_backbone."


def body_of(state_dict):
  """The backbone's entries as a published classifier names them."""
  prefix = "backbone.0.body."
  body = {
    key.removeprefix(prefix): value
    for key, value in state_dict.items()
    if key.startswith(prefix)
  }
  for key in list(body):
    if key.startswith("downsamples."):
      stage, _, rest = key.removeprefix("downsamples.").partition(".")
      body[f"layers.{stage}.downsample.{rest}"] = body.pop(key)
  return body


@pytest.fixture
def kinetics(mu_state_dict):
  """A Video Swin classifier: patches two frames deep, head, final norm."""
  body = body_of(mu_state_dict)
  kernel = body["patch_embed.proj.weight"]
  halves = np.concatenate([kernel * 0.25, kernel * 0.75], 2)
  body |= {
    "patch_embed.proj.weight": halves,
    "norm.weight": np.ones(192, np.float32),
  }
  state_dict = {f"backbone.{key}": value for key, value in body.items()}
  return {**state_dict, "cls_head.fc_cls.weight": np.ones((400, 192))}


@pytest.fixture
def swin(mu_state_dict):
  """An image Swin of window 7."""
  body = body_of(mu_state_dict)
  body["patch_embed.proj.weight"] = body["patch_embed.proj.weight"][:, :, 0]
  for key in list(body):
    if key.endswith("relative_position_bias_table"):
      body[key] = body[key][:169]
    if key.endswith("relative_position_index"):
      body[key] = np.zeros((49, 49), np.int64)
  body["layers.2.blocks.1.attn_mask"] = np.zeros((4, 49, 49), np.float32)
  body["head.weight"] = np.ones((1000, 192), np.float32)
  body["norm.bias"] = np.ones(192, np.float32)
  return body


class TestSgMg:
  def test_released_file(self, tmp_path, mu_state_dict):
    path = tmp_path / "released.pth"
    old_buffer = {f"{TEXT}embeddings.position_ids": np.arange(40)[None]}
    tensors = {
      k: torch.from_numpy(v) for k, v in (mu_state_dict | old_buffer).items()
    }
    torch.save(
      {"model": tensors, "args": argparse.Namespace(lr=1), "epoch": 1}, path
    )
    converted = convert.read(path, name="mu")
    back = names.to_torch(converted.params)
    assert back.keys() == mu_state_dict.keys()
    for key, value in mu_state_dict.items():
      assert back[key].tobytes() == value.tobytes(), key
    card = converted.card
    assert card["source"] == {
      "kind": "sgmg",
      "file": "released.pth",
      "sha256": torch_file.sha256(path),
    }
    assert "CC-BY-NC" in card["licence"]
    assert variants.Variant(**card["variant"]) == MU

  def test_every_misfit_is_listed(self, mu_state_dict):
    del mu_state_dict["class_embed.1.bias"]
    del mu_state_dict["query_embed.weight"]
    mu_state_dict["reid_head.weight"] = np.zeros(2)
    mu_state_dict["controller.layers.2.bias"] = np.zeros(9)
    with pytest.raises(errors.UserError) as error:
      convert.from_sgmg(mu_state_dict, "x.pth")
    for part in (
      "2 missing",
      "class_embed.1.bias",
      "query_embed.weight",
      "unexpected: reid_head.weight",
      "controller.layers.2.bias is (9,)",
    ):
      assert part in str(error.value)

  def test_another_windows_index_is_refused(self, mu_state_dict):
    key = "backbone.0.body.layers.0.blocks.0.attn.relative_position_index"
    mu_state_dict[key] = mu_state_dict[key].T
    with pytest.raises(errors.UserError, match=key):
      convert.from_sgmg(mu_state_dict)


class TestKinetics:
  def test_summed_patches_and_renamed_merging(self, kinetics, mu_state_dict):
    params, variant = convert.from_kinetics(kinetics)
    got = names.to_torch(params)
    kernel = got.pop("patch_embed.proj.weight")
    np.testing.assert_allclose(
      kernel,
      mu_state_dict["backbone.0.body.patch_embed.proj.weight"],
      rtol=1e-5,
      atol=1e-6,
    )
    for key, value in got.items():
      expected = mu_state_dict[f"backbone.0.body.{key}"]
      assert value.tobytes() == expected.tobytes(), key
    assert variant.embed_dim == 24 and variant.depths == (1, 1, 2, 1)
    assert variant.swin_heads == (2, 3, 4, 6)

  def test_a_doubled_frame_gives_the_same_patches(self, kinetics):
    params, _ = convert.from_kinetics(kinetics)
    frame = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32)
    got = np.einsum(
      "hwi,hwio->o", frame, params["patch_embed"]["proj"]["kernel"][0]
    )
    kernel = kinetics["backbone.patch_embed.proj.weight"]
    expected = np.einsum("hwi,oithw->o", frame, kernel)  # both frames equal
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)

  def test_file_with_state_dict_becomes_a_part(self, tmp_path, kinetics):
    tensors = {k: torch.from_numpy(v) for k, v in kinetics.items()}
    path = tmp_path / "k400.pth"
    torch.save({"state_dict": tensors, "meta": {"epoch": 30}}, path)
    converted = convert.read(path, name="swin")
    assert converted.card["part"] == "backbone"
    assert set(converted.card["variant"]) == {
      "embed_dim",
      "depths",
      "swin_heads",
    }
    expected_shapes.check(
      converted.params,
      {"backbone_0": expected_shapes.model(MU)["backbone_0"]},
      "converted",
    )

  def test_another_window_is_refused(self, kinetics):
    key = "backbone.layers.0.blocks.0.attn.relative_position_bias_table"
    kinetics[key] = np.zeros((31 * 13 * 13, 2))
    with pytest.raises(errors.UserError, match=r"is \(5239, 2\)"):
      convert.from_kinetics(kinetics)

  def test_unexpected_entries_are_listed(self, kinetics):
    kinetics["backbone.extra"] = np.zeros(1)
    with pytest.raises(errors.UserError, match="1 unexpected: extra"):
      convert.from_kinetics(kinetics)


class TestInflatedSwin:
  def test_inflated(self, swin, mu_state_dict):
    params, _ = convert.from_inflated_swin(swin)
    got = names.to_torch(params)
    for key, value in got.items():
      expected = mu_state_dict[f"backbone.0.body.{key}"]
      if key.endswith("relative_position_bias_table"):
        assert value.shape == expected.shape
        # 15 temporal distances, each with the image's table
        for distance in range(15):
          part = value[169 * distance : 169 * (distance + 1)]
          assert (part == expected[:169]).all()
      else:
        assert value.tobytes() == expected.tobytes(), key

  def test_patches_by_hand(self):
    kernel = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    got = convert.inflate_patches(kernel, 2)
    assert got.shape == (2, 1, 2, 2, 2) and got.dtype == np.float32
    assert (
      got[1, 0, 0].tolist() == got[1, 0, 1].tolist() == [[2, 2.5], [3, 3.5]]
    )

  def test_table_rows_meet_the_index(self):
    # Row (dh + 6) * 13 + dw + 6 of the image's table says which it is.
    table = np.arange(169, dtype=np.float32)[:, None]
    bias = convert.inflate_position_table(table)[
      window_attention.relative_position_index(), 0
    ]
    query, key = 3 * 49 + 2 * 7 + 5, 6 * 49 + 6 * 7 + 1  # (3,2,5), (6,6,1)
    assert bias[query, key] == (2 - 6 + 6) * 13 + (5 - 1 + 6)

  @pytest.mark.parametrize("side", [23, 7, 15])
  def test_table_of_another_window_as_torch_resizes(self, side):
    table = np.random.default_rng(0).standard_normal((side * side, 3))
    table = table.astype(np.float32)
    image = torch.from_numpy(table).T.reshape(1, 3, side, side)
    resized = torch.nn.functional.interpolate(
      image, size=(13, 13), mode="bicubic", align_corners=False
    )
    expected = resized.reshape(3, 169).T.numpy()
    got = convert.inflate_position_table(table)
    np.testing.assert_allclose(got[-169:], expected, atol=5e-6)

  def test_absolute_positions_are_refused(self, swin):
    swin["absolute_pos_embed"] = np.zeros((1, 3136, 24))
    with pytest.raises(errors.UserError, match="absolute_pos_embed"):
      convert.from_inflated_swin(swin)


@pytest.fixture(scope="module")
def roberta():
  """A random Hugging Face masked language model with a pooler added."""
  import transformers

  torch.manual_seed(0)
  config = transformers.RobertaConfig(
    vocab_size=120,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=96,
    max_position_embeddings=40,
    type_vocab_size=1,
    layer_norm_eps=1e-5,
    pad_token_id=1,
  )
  model = transformers.RobertaModel(config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.copy_(torch.randn(parameter.shape) * 0.3)
  return model


class TestRoberta:
  def run(self, params, tokens, valid):
    v = MU
    module = text_encoder.Roberta(
      v.vocab_size,
      v.text_width,
      v.text_layers,
      v.text_heads,
      v.text_ffn,
      v.text_positions,
      v.pad_token_id,
    )
    apply = jax.jit(module.apply)
    return apply({"params": params}, jnp.asarray(tokens), jnp.asarray(valid))

  @pytest.mark.parametrize("form", ["safetensors", "bin", "prefixed"])
  def test_numbers_of_hugging_face(self, tmp_path, roberta, form):
    roberta.save_pretrained(tmp_path)
    if form != "safetensors":
      (tmp_path / "model.safetensors").unlink()
      prefix = "roberta." if form == "prefixed" else ""
      state_dict = {prefix + k: v for k, v in roberta.state_dict().items()}
      if prefix:
        state_dict["lm_head.bias"] = torch.zeros(120)
      torch.save(state_dict, tmp_path / "pytorch_model.bin")
    converted = convert.read(tmp_path, name="text")
    assert converted.card["part"] == "text_encoder" and not converted.notes
    tokens = np.random.default_rng(0).integers(3, 120, (3, 12))
    lengths = np.array([12, 7, 3])
    valid = np.arange(12) < lengths[:, None]
    tokens[~valid] = 1
    with torch.no_grad():
      expected = roberta(
        torch.from_numpy(tokens), torch.from_numpy(valid).long()
      )
    words, sentence = self.run(
      converted.params["text_encoder"]["text_backbone"], tokens, valid
    )
    np.testing.assert_allclose(
      words[valid], expected.last_hidden_state.numpy()[valid], atol=1e-5
    )
    np.testing.assert_allclose(
      sentence, expected.pooler_output.numpy(), atol=1e-5
    )

  def test_no_pooler_is_noted_and_reproducible(self, roberta):
    state_dict = {
      k: v.numpy()
      for k, v in roberta.state_dict().items()
      if not k.startswith("pooler.")
    }
    config = roberta.config.to_dict()
    params, _, notes = convert.from_roberta(state_dict, config)
    again, _, _ = convert.from_roberta(state_dict, config)
    kernel = params["pooler"]["dense"]["kernel"]
    assert "no pooler" in notes[0]
    assert 0.017 < kernel.std() < 0.023
    assert (kernel == again["pooler"]["dense"]["kernel"]).all()
    assert not params["pooler"]["dense"]["bias"].any()

  def test_other_architectures_are_refused(self, roberta):
    config = roberta.config.to_dict() | {
      "hidden_act": "relu",
      "layer_norm_eps": 1e-12,
      "vocab_size": "120",
    }
    with pytest.raises(errors.UserError) as error:
      convert.from_roberta({}, config, "folder")
    for key in ("hidden_act", "layer_norm_eps", "vocab_size"):
      assert key in str(error.value)

  def test_missing_and_unexpected_are_listed(self, roberta):
    state_dict = {k: v.numpy() for k, v in roberta.state_dict().items()}
    del state_dict["pooler.dense.bias"]
    state_dict["classifier.bias"] = np.zeros(2)
    with pytest.raises(errors.UserError) as error:
      convert.from_roberta(state_dict, roberta.config.to_dict())
    assert "1 missing: pooler.dense.bias" in str(error.value)
    assert "1 unexpected: classifier.bias" in str(error.value)

  def test_folder_without_weights_or_config(self, tmp_path, roberta):
    with pytest.raises(errors.UserError, match="no RoBERTa weights"):
      convert.read(tmp_path, name="x")
    roberta.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.UserError, match="config.json is damaged"):
      convert.read(tmp_path, name="x")


def test_kinds_are_told_apart(mu_state_dict, kinetics, swin, roberta):
  assert convert.tell_kind(mu_state_dict) == "sgmg"
  assert convert.tell_kind(kinetics) == "kinetics"
  assert convert.tell_kind(swin) == "swin"
  assert convert.tell_kind(roberta.state_dict()) == "roberta"
  with pytest.raises(errors.UserError, match="a, b, c"):
    convert.tell_kind(dict.fromkeys("abcd"))


def test_converted_parts_have_the_models_own_leaves(kinetics):
  """A part's tree is the model's subtree, in names, shapes and order-free."""
  params, _ = convert.from_kinetics(kinetics)
  ours = traverse_util.flatten_dict(params, sep="/")
  model = traverse_util.flatten_dict(
    expected_shapes.model(MU)["backbone_0"]["body"], sep="/"
  )
  assert {k: v.shape for k, v in ours.items()} == {
    k: v.shape for k, v in model.items()
  }


def test_config_of_a_folder_is_json(tmp_path):
  (tmp_path / "config.json").write_text(json.dumps([1]))
  (tmp_path / "model.safetensors").touch()
  with pytest.raises(errors.UserError):
    convert.read(tmp_path, name="x")
