"""The table at the start of a training."""

import jax
import numpy as np

from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.model import variants
from sgmg_jax.training import parameter_summary


def test_parts_are_summed_over_their_numbers():
  params = {
    "head_0": {"kernel": np.zeros((10, 10)), "bias": np.zeros(10)},
    "head_1_0": {"kernel": np.zeros((1000,))},
    "text": {"kernel": np.zeros(5)},
  }
  trainable = jax.tree.map(lambda x: x.ndim == 1, params)
  trainable["text"]["kernel"] = False
  assert parameter_summary.summarise(params, trainable).splitlines() == [
    "  head   1,110  91 % trained",
    "  text       5  frozen",
    "  total  1,115  91 % trained",
  ]


def test_the_whole_model_takes_ten_lines():
  params = expected_shapes.model(variants.get_variant("video_swin_t"))
  everything = jax.tree.map(lambda _: True, params)
  lines = parameter_summary.summarise(params, everything).splitlines()
  assert len(lines) == 10
  assert lines[0].split() == ["text_encoder", "124,645,632", "trained"]
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert lines[-1].split() == ["total", f"{count:,}", "trained"]
