"""A training step of models whose backbone sees each frame alone."""

import re

import numpy as np
import pytest
from flax import traverse_util

from sgmg_jax.checkpoints import native
from sgmg_jax.cli import main
from sgmg_jax.model import backbone

# Compiles a step for each.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_trains_all_but_constants(kind, small_checkpoint, miniatures, tmp_path):
  start = native.load(small_checkpoint(tmp_path / kind, backbone=kind))
  variant, params = start.variant, start.params
  assert variant.backbone == kind
  miniatures.make_own(tmp_path)
  main.main(
    [
      "train",
      "--config=finetune_own:runlocal",
      f"--workdir={tmp_path}/run",
      f"--config.init_from={tmp_path / kind}",
      f"--config.data.root={tmp_path}/own",
      "--config.mesh.data=1",
      "--config.data.buckets=((288,288),)",
      "--config.data.num_frames=1",
      "--config.total_steps=1",
    ]
  )
  after = native.load(tmp_path / "run/model")
  assert after.variant == variant
  flat = lambda tree: traverse_util.flatten_dict(tree, sep="/")
  before, after = flat(params), flat(after.params)
  frozen = "|".join(("text_encoder/.*", *backbone.constants(variant)))
  for name, value in after.items():
    assert np.isfinite(value).all(), name
    if re.fullmatch(frozen, name):
      np.testing.assert_array_equal(value, before[name], name)
    elif name.startswith("backbone_0/"):
      assert (value != before[name]).any(), name
