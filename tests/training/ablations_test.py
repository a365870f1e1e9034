"""Training steps of the ablations of Tables 5, 6 and H."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax import types
from sgmg_jax.checkpoints import random_weights
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import forward, optimizer
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib

# A step of each row compiles for 20 seconds of a core, so that every value of
# every switch is in one of three rows.
pytestmark = pytest.mark.slow

SIDE = 160
# What all rows share is frozen, and passed forward alone: nearly all the time
# here goes into compiling.
GROUPS = (("(text_encoder|backbone_0)/.*", None), (".*", 1.0))
SIZES = dict(
  backbone="resnet",
  depths=(1, 1, 1, 1),
  encoder_layers=1,
  decoder_layers=1,
  text_layers=1,
  num_queries=2,
)


@pytest.mark.parametrize(
  "row",
  [
    dict(spectral="none", patch=1, refine=False),
    dict(spectral="conv", refine=False),
    dict(spectral="linear", patch=1, decoder="fpn"),
  ],
  ids=lambda row: "-".join(map(str, row.values())),
)
def test_every_switch_trains_all_its_parameters(row):
  variant = variants.get_variant("mu", **SIZES, **row)
  model = sgmg.SgMg(variant)
  params = jax.tree.map(jnp.asarray, random_weights.make(variant))
  masks = np.zeros((1, 1, SIDE, SIDE), bool)
  masks[..., 40:80, 30:70] = True
  batch = types.Batch(
    frames=jnp.asarray(
      np.random.default_rng(0).normal(size=(1, 1, SIDE, SIDE, 3)), jnp.float32
    ),
    pixel_valid=jnp.ones((1, SIDE, SIDE), bool),
    size=jnp.full((1, 2), SIDE),
    tokens=jnp.asarray([[5, 6, 7]]),
    token_valid=jnp.ones((1, 3), bool),
    targets=types.Targets(
      boxes=jnp.asarray([[[50, 60, 40, 40]]]) / SIDE,
      masks=jnp.asarray(masks),
      valid=jnp.ones((1, 1), bool),
    ),
  )
  tx = optax.adam(1e-3)
  step = jax.jit(
    step_lib.make_step(
      forward.make_objective(model),
      tx,
      policy=model.precision,
      trainable=optimizer.trainable_mask(params, GROUPS),
      seed=0,
    )
  )
  first = state = state_lib.create(params, tx, use_ema=False)
  totals = []
  for _ in range(3):
    state, metrics = step(state, batch)
    totals.append(float(metrics["total"]))
  assert np.isfinite(totals).all() and totals[2] < totals[0]
  same = jax.tree.map(np.array_equal, first.params, state.params)
  still = {k for k, v in same.items() if all(jax.tree.leaves(v))}
  assert still == {"backbone_0", "text_encoder"}
