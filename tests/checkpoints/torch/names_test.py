"""Names and layouts of the released state dicts."""

import re

import numpy as np
import pytest
from flax import traverse_util

from sgmg_jax import errors
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.checkpoints.torch import names
from sgmg_jax.model import variants, window_attention

TINY, BASE = "video_swin_t", "video_swin_b"


def fabricated_tree(shapes):
  """The parameter tree the model would have, made from released shapes.

  Written independently of the code under test: by kinds of layers.
  """
  tree = {}
  for key, shape in shapes.items():
    if key.endswith("_index") or key.startswith("transformer.decoder.bbox"):
      continue
    key = re.sub(r"in_proj_(weight|bias)", r"in_proj.\1", key)
    key = re.sub(r"\.(\d+)(?=\.)", r"_\1", key)
    key = re.sub(r"\.(\d+)(?=\.)", r"_\1", key)
    path = key.split(".")
    if path[-1] == "weight":
      norm = len(shape) == 1
      table = path[-2].endswith("embeddings") or path[-2] == "query_embed"
      path[-1] = "scale" if norm else "embedding" if table else "kernel"
    if path[-1] == "kernel":
      shape = [*shape[2:], shape[1], shape[0]]
    # broadcast_to: shapes of a 180 M parameter model without its memory
    tree[tuple(path)] = np.broadcast_to(np.float32(0), shape)
  return traverse_util.unflatten_dict(tree)


@pytest.mark.parametrize(
  "key,path",
  [
    (
      "backbone.0.body.layers.2.blocks.5.attn.qkv.weight",
      "backbone_0/body/layers_2/blocks_5/attn/qkv/kernel",
    ),
    ("input_proj.3.1.weight", "input_proj_3_1/scale"),
    ("input_proj.3.1.bias", "input_proj_3_1/bias"),
    ("input_fft_post.1.fc.2.weight", "input_fft_post_1/fc_2/kernel"),
    ("mask_refine.conv1_1div8.weight", "mask_refine/conv1_1div8/kernel"),
    (
      "transformer.decoder.layers.1.self_attn.in_proj_weight",
      "transformer/decoder/layers_1/self_attn/in_proj/kernel",
    ),
    (
      "fusion_module.multihead_attn.in_proj_bias",
      "fusion_module/multihead_attn/in_proj/bias",
    ),
    ("query_embed.weight", "query_embed/embedding"),
    ("transformer.level_embed", "transformer/level_embed"),
    ("bbox_embed.2.layers.1.weight", "bbox_embed_2/layers_1/kernel"),
    (
      "text_encoder.text_backbone.encoder.layer.11.output.LayerNorm.weight",
      "text_encoder/text_backbone/encoder/layer_11/output/LayerNorm/scale",
    ),
  ],
)
def test_names_written_by_hand(key, path, released_shapes):
  tree = traverse_util.flatten_dict(fabricated_tree(released_shapes(TINY)))
  path = tuple(path.split("/"))
  assert path in tree
  assert names.torch_key(path) == key


@pytest.mark.parametrize("name", [TINY, BASE])
def test_every_released_name_is_reached_and_reaches_back(name, released_shapes):
  shapes = released_shapes(name)
  tree = traverse_util.flatten_dict(fabricated_tree(shapes))
  back = [names.torch_key(path) for path in tree]
  assert len(set(back)) == len(back)
  expected = {
    key
    for key in shapes
    if not names.is_buffer(key)
    and not key.startswith("transformer.decoder.bbox_embed.")
  }
  assert set(back) == expected


def test_round_trip_is_bit_exact_with_the_released_key_set(
  mu_shapes, mu_state_dict
):
  shapes, state_dict = mu_shapes, mu_state_dict
  params = names.from_torch(state_dict, fabricated_tree(shapes))
  back = names.to_torch(params)
  assert {k: v.shape for k, v in back.items()} == shapes
  for key, value in state_dict.items():
    assert back[key].dtype == value.dtype, key
    assert back[key].tobytes() == value.tobytes(), key


def test_layouts_by_hand():
  conv = np.arange(2 * 3 * 1 * 4 * 4, dtype=np.float32).reshape(2, 3, 1, 4, 4)
  linear = np.arange(6, dtype=np.float32).reshape(2, 3)
  table = np.arange(8, dtype=np.float32).reshape(4, 2)
  tree = {
    "proj": {"kernel": np.zeros((1, 4, 4, 3, 2))},
    "fc_0": {"kernel": np.zeros((3, 2))},
    "query_embed": {"embedding": np.zeros((4, 2))},
  }
  params = names.from_torch(
    {"proj.weight": conv, "fc.0.weight": linear, "query_embed.weight": table},
    tree,
  )
  assert params["proj"]["kernel"][0, 1, 2, 2, 1] == conv[1, 2, 0, 1, 2]
  assert params["fc_0"]["kernel"][2, 1] == linear[1, 2]
  assert params["query_embed"]["embedding"][3, 1] == table[3, 1]


def test_relative_position_index_by_hand():
  index = window_attention.relative_position_index()
  assert index.shape == (392, 392) and index.dtype == np.int64
  assert index[0, 0] == 7 * 169 + 6 * 13 + 6
  assert index[1, 0] == 7 * 169 + 6 * 13 + 7  # query one to the right
  assert index[0, 7] == 7 * 169 + 5 * 13 + 6  # key one row below
  assert index[49, 0] == 8 * 169 + 6 * 13 + 6  # query one frame later
  assert index[391, 0] == 15 * 169 - 1 and index[0, 391] == 0


def test_one_error_lists_every_misfit(mu_shapes, mu_state_dict):
  shapes, state_dict = mu_shapes, mu_state_dict
  del state_dict["query_embed.weight"], state_dict["class_embed.0.bias"]
  state_dict["extra.weight"] = np.zeros(3)
  state_dict["transformer.level_embed"] = np.zeros((3, 64))
  twin = "transformer.decoder.bbox_embed.0.layers.0.bias"
  state_dict[twin] = state_dict[twin] + 1
  with pytest.raises(errors.UserError) as error:
    names.from_torch(state_dict, fabricated_tree(shapes), source="x.pth")
  message = str(error.value)
  assert "\n" not in message and message.startswith("x.pth")
  for part in (
    "2 missing",
    "query_embed.weight",
    "class_embed.0.bias",
    "1 unexpected: extra.weight",
    "transformer.level_embed is (3, 64), expected (4, 64)",
    twin,
  ):
    assert part in message


@pytest.mark.parametrize("name", [TINY, BASE])
def test_the_models_tree_is_the_released_one(name, released_shapes):
  shapes = released_shapes(name)
  # One byte an entry: names and shapes are what counts here.
  state_dict = {
    key: window_attention.relative_position_index()
    if names.is_buffer(key)
    else np.zeros(shape, np.int8)
    for key, shape in shapes.items()
  }
  tree = expected_shapes.model(variants.get_variant(name))
  back = names.to_torch(names.from_torch(state_dict, tree))
  assert {k: v.shape for k, v in back.items()} == shapes
