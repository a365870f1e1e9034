"""Sizes read off shapes."""

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.checkpoints.torch import names, sizes
from sgmg_jax.model import variants


def zeros_of(variant):
  """State dict of a variant, one byte an entry."""
  from flax import traverse_util

  flat = traverse_util.flatten_dict(expected_shapes.model(variant))
  return names.to_torch(
    traverse_util.unflatten_dict(
      {k: np.zeros(x.shape, np.int8) for k, x in flat.items()}
    )
  )


@pytest.mark.parametrize("name", ["video_swin_t", "video_swin_b"])
def test_released_shapes(name, released_shapes):
  state_dict = {
    k: np.broadcast_to(np.int8(0), v) for k, v in released_shapes(name).items()
  }
  assert sizes.model_variant(state_dict) == variants.get_variant(name)


@pytest.mark.parametrize("name", ["mini", "mu"])
def test_small_variants(name):
  variant = variants.get_variant(name)
  assert sizes.model_variant(zeros_of(variant)) == variant


def test_sizes_that_no_variant_shares_must_be_told():
  variant = variants.get_variant(
    "mu", width=32, num_heads=4, num_points=2, text_width=40, text_heads=5
  )
  state_dict = zeros_of(variant)
  with pytest.raises(errors.UserError, match="num_heads and text_heads"):
    sizes.model_variant(state_dict)
  told = sizes.model_variant(state_dict, num_heads=4, text_heads=5)
  assert told == variant


def test_missing_entries_are_left_for_the_reader_to_list(mu_state_dict):
  del mu_state_dict["query_embed.weight"]
  del mu_state_dict["transformer.encoder.layers.0.linear1.weight"]
  assert sizes.model_variant(mu_state_dict) == variants.get_variant("mu")


def test_no_swin_is_said():
  with pytest.raises(errors.UserError, match="no Swin"):
    sizes.model_variant({"transformer.level_embed": np.zeros((4, 8))})
