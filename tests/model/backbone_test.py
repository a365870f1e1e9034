"""Swin and ResNet against those of `transformers`, which are of its own.

Published files are imitated: random weights under the names of Microsoft's,
torchvision's and timm's state dicts.
"""

import re

import jax
import numpy as np
import pytest
from flax import traverse_util

from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.checkpoints.torch import convert, names, sizes
from sgmg_jax.errors import UserError
from sgmg_jax.model import backbone, variants

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DEPTHS = (1, 2, 1, 2)
STAGES = [f"stage{i}" for i in range(1, 5)]
_SWIN = (
  (r"^swin\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
  (r"^swin\.embeddings\.norm\.", "patch_embed.norm."),
  (r"^swin\.encoder\.", ""),
  (r"^swin\.layernorm\.", "norm."),
  (r"^hidden_states_norms\.stage1\.", "norm0."),
  (r"^hidden_states_norms\.stage2\.", "norm1."),
  (r"^hidden_states_norms\.stage3\.", "norm2."),
  (r"^hidden_states_norms\.stage4\.", "norm3."),
  (r"attention\.o_proj", "attn.proj"),
  (r"attention\.relative_position_bias\.", "attn."),
  (r"layernorm_before", "norm1"),
  (r"layernorm_after", "norm2"),
)
_RESNET = (
  (r"^embedder\.embedder\.convolution\.", "conv1."),
  (r"^embedder\.embedder\.normalization\.", "bn1."),
  (r"shortcut\.convolution", "downsample.0"),
  (r"shortcut\.normalization", "downsample.1"),
  (
    r"^encoder\.stages\.(\d)\.layers\.(\d+)\.",
    lambda m: f"layer{int(m[1]) + 1}.{m[2]}.",
  ),
  (r"layer\.(\d)\.convolution", lambda m: f"conv{int(m[1]) + 1}"),
  (r"layer\.(\d)\.normalization", lambda m: f"bn{int(m[1]) + 1}"),
)


def _randomise(model):
  """Weights of which none is 0 or 1, so that every one matters."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, x in model.state_dict().items():
      if name.endswith("running_var"):
        x.copy_(torch.rand(x.shape, generator=generator) + 0.5)
      elif x.dtype == torch.float32:
        scale = 0.2 if x.ndim == 1 else x[0].numel() ** -0.5
        x.copy_(torch.randn(x.shape, generator=generator) * scale)
        if x.ndim == 1 and name.endswith("weight"):
          x += 1
  return model.eval()


def _renamed(model, rules):
  state_dict = {}
  for name, x in model.state_dict().items():
    for pattern, new in rules:
      name = re.sub(pattern, new, name)
    state_dict[name] = x.numpy()
  return state_dict


@pytest.fixture(scope="module")
def swin():
  """A small Swin, and its published file: packed projections, and a head."""
  model = transformers.SwinBackbone(
    transformers.SwinConfig(
      embed_dim=8,
      depths=DEPTHS,
      num_heads=(1, 2, 2, 4),
      window_size=3,
      out_features=STAGES,
    )
  )
  published = _renamed(_randomise(model), _SWIN)
  for name in [k for k in published if ".q_proj." in k]:
    parts = [published.pop(name.replace("q_proj", f"{x}_proj")) for x in "qkv"]
    name = name.replace("attention.q_proj", "attn.qkv")
    published[name] = np.concatenate(parts)
  published["head.weight"] = np.ones((10, 64), np.float32)
  return model, published


@pytest.fixture(scope="module")
def resnet():
  model = transformers.ResNetBackbone(
    transformers.ResNetConfig(
      embedding_size=8,
      hidden_sizes=(32, 64, 128, 256),
      depths=DEPTHS,
      out_features=STAGES,
    )
  )
  published = _renamed(_randomise(model), _RESNET)
  published["fc.bias"] = np.ones(10, np.float32)
  return model, published


def _check_features(model, params, variant, size, bound=2e-5):
  clips = np.random.default_rng(0).standard_normal((2, 2, *size, 3))
  clips = clips.astype(np.float32)
  module = backbone.make(variant)
  stages = jax.jit(module.apply)({"params": params}, clips)
  frames = clips.reshape(4, *size, 3).transpose(0, 3, 1, 2).copy()
  with torch.no_grad():
    expected = model(torch.from_numpy(frames)).feature_maps
  for x, y, channels in zip(stages, expected, variant.channels, strict=True):
    y = y.numpy().transpose(0, 2, 3, 1)
    assert x.shape == (2, 2, *y.shape[1:]) and x.shape[-1] == channels
    difference = np.abs(np.reshape(x, y.shape) - y).max() / y.std()
    assert difference < bound


# Sides that patches do not divide, nor windows or strides their maps; the
# second is padded to a window where its maps are small.
@pytest.mark.parametrize("size", [(118, 170), (64, 90)])
def test_swin_is_that_of_transformers(swin, size):
  model, published = swin
  params, variant = convert.from_swin(published)
  assert variant.backbone == "swin" and variant.swin_window == 3
  assert variant.swin_heads == (1, 2, 2, 4) and variant.depths == DEPTHS
  _check_features(model, params, variant, size)


def test_resnet_is_that_of_transformers(resnet):
  model, published = resnet
  params, variant = convert.from_resnet(published)
  assert variant.backbone == "resnet" and variant.embed_dim == 8
  assert variant.depths == DEPTHS
  _check_features(model, params, variant, (118, 170))


def test_classifiers_of_timm_have_the_same_weights(swin):
  published = {k: v for k, v in swin[1].items() if not re.match(r"norm\d", k)}
  params, _, note = convert.from_swin(published)
  assert "no norms of the stages" in note
  timm = {
    re.sub(
      r"layers\.(\d)\.downsample",
      lambda m: f"layers.{int(m[1]) + 1}.downsample",
      name,
    ): value
    for name, value in published.items()
  }
  assert timm.keys() != published.keys()
  other, _, _ = convert.from_swin(timm)
  jax.tree.map(np.testing.assert_array_equal, params, other)
  assert set(params["norm3"]["scale"]) == {1}


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_file_becomes_a_part_of_the_model(kind, request, tmp_path):
  _, published = request.getfixturevalue(kind)
  torch.save(
    {"model": {k: torch.from_numpy(v) for k, v in published.items()}},
    tmp_path / "x.pth",
  )
  converted = convert.read(tmp_path / "x.pth", name="x")
  card = converted.card
  assert card["source"]["kind"] == kind and card["part"] == "backbone"
  back = names.to_torch(converted.params["backbone_0"]["body"])
  assert sizes.backbone_sizes(back).items() <= card["variant"].items()


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_a_whole_model_tells_its_backbone(kind):
  variant = variants.get_variant("mu", backbone=kind)
  shapes = expected_shapes.model(variant)
  flat = traverse_util.flatten_dict(shapes)
  params = {k: np.zeros(x.shape, np.int8) for k, x in flat.items()}
  state_dict = names.to_torch(traverse_util.unflatten_dict(params))
  told = sizes.model_variant(state_dict, num_heads=8, text_heads=4)
  assert told.backbone == kind and told.channels == variant.channels


def test_blocks_of_two_convolutions_are_refused(resnet):
  basic = {k: v for k, v in resnet[1].items() if not re.search("(conv|bn)3", k)}
  with pytest.raises(UserError, match=r"missing: .*layer1.0.bn3.weight"):
    convert.from_resnet(basic)


def test_only_batch_norm_is_constant():
  variant = variants.get_variant("resnet50")
  flat = traverse_util.flatten_dict(expected_shapes.model(variant), sep="/")
  (pattern,) = backbone.constants(variant)
  constant = {name for name in flat if re.fullmatch(pattern, name)}
  # Four vectors of each of 53 convolutions.
  assert len(constant) == 4 * 53
  assert not any(name.endswith("kernel") for name in constant)
  assert {n for n in flat if n.endswith("running_var")} < constant
  assert backbone.constants(variants.get_variant("swin_t")) == ()
