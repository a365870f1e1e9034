"""Blocks computed again in the backward pass: the same values, gradients and
random numbers, and nothing else."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.errors import UserError
from sgmg_jax.model import deformable_transformer, sgmg, variants, video_swin
from sgmg_jax.model import remat as remat_lib
from sgmg_jax.training import setup

SHAPES = ((4, 5), (2, 3))
LAYER = dict(
  num_heads=2,
  ffn_dim=32,
  num_points=2,
  dropout=0.3,
  dtype=jnp.float32,
  param_dtype=jnp.float32,
)


def noise(*shape):
  return jnp.asarray(np.random.RandomState(0).standard_normal(shape), "float32")


def backbone(remat):
  module = video_swin.BlockStack(2, (0.5, 0.5), remat=remat)
  return module, (noise(2, 2, 8, 15, 16), None)


def encoder(remat):
  x = noise(1, 26, 16)
  centres = jnp.full((1, 26, 2, 2), 0.5)
  args = (x, x, centres, jnp.ones((1, 26), bool), SHAPES)
  return deformable_transformer.Encoder(2, LAYER, remat), args


@pytest.mark.parametrize("part", [backbone, encoder])
def test_values_gradients_and_dropout_are_the_same(part):
  results = []
  for remat in remat_lib.POLICIES:
    module, args = part(remat)
    init = functools.partial(module.init, jax.random.key(0), *args)
    shapes = jax.eval_shape(init)
    params = jax.tree.map(lambda x: 0.1 * noise(*x.shape), shapes)

    @jax.jit
    @jax.value_and_grad
    def loss(params, module=module, args=args):
      keys = jax.random.split(jax.random.key(1))
      rngs = dict(zip(("dropout", "drop_path"), keys))
      out = module.apply(params, *args, train=True, rngs=rngs)
      return jnp.sum(jnp.square(out))

    results.append(loss(params))
  close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
  for result in results[1:]:
    jax.tree.map(close, results[0], result)


def test_blocks_and_encoder_layers_of_the_whole_model():
  variant = variants.get_variant("mu", text_layers=1)
  side = types.MIN_PADDED_SIDE
  args = (
    noise(1, 1, side, side, 3),
    jnp.ones((1, side, side), bool),
    jnp.full((1, 2), side),
    jnp.zeros((1, 3), jnp.int32),
    jnp.ones((1, 3), bool),
  )
  counts, trees = [], []
  for remat in ("none", "blocks"):
    model = sgmg.SgMg(variant, remat=remat)
    init = functools.partial(sgmg.init_params, model)
    params = jax.eval_shape(init, jax.random.key(0))
    trees.append(jax.tree.map(lambda x: x.shape, params))
    rngs = {name: jax.random.key(0) for name in ("dropout", "drop_path")}
    run = lambda params, model=model, rngs=rngs: model.apply(
      {"params": params}, *args, train=True, rngs=rngs
    )
    program = str(jax.make_jaxpr(run)(params))
    counts.append(len(re.findall(r" (?:remat2?|checkpoint)\[", program)))
  assert trees[0] == trees[1]
  added = sum(variant.depths) + variant.encoder_layers
  assert counts[1] - counts[0] == added


def test_products_with_weights_are_kept_by_dots():
  counts = {}
  for policy in remat_lib.POLICIES:
    module, args = backbone(policy)
    params = jax.eval_shape(module.init, jax.random.key(0), *args)
    program = jax.make_jaxpr(
      jax.grad(lambda p, m=module: jnp.sum(m.apply(p, *args)))  # noqa: B023
    )(params)
    counts[policy] = str(program).count("dot_general[")
  # Those of attention are computed again all the same.
  assert counts["none"] < counts["dots"] < counts["blocks"], counts


def test_configs_may_have_a_bool_as_they_once_had():
  assert [remat_lib.check(x) for x in (False, True, "False", "True")] == [
    "none",
    "blocks",
    "none",
    "blocks",
  ]
  variant = variants.get_variant("mu")
  assert setup.build_model(variant, remat="dots").remat == "dots"
  with pytest.raises(UserError, match="remat: .* blocks, dots, got 'all'"):
    setup.build_model(variant, remat="all")
