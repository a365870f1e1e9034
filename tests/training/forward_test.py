"""Annotated frames in training: the rest of a clip is only looked at."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import forward

pytestmark = pytest.mark.slow

VARIANT = variants.get_variant(
  "mu", depths=(1, 1, 1, 1), encoder_layers=1, decoder_layers=1, text_layers=1
)
SIDE = 160


@pytest.fixture(scope="module")
def encode():
  model = sgmg.SgMg(VARIANT)
  random = np.random.default_rng(0)
  shapes = jax.eval_shape(
    functools.partial(sgmg.init_params, model), jax.random.key(0)
  )
  params = jax.tree.map(
    lambda x: jnp.asarray(random.normal(0, 0.2, x.shape), jnp.float32), shapes
  )
  frames = jnp.asarray(random.normal(size=(2, 3, SIDE, SIDE, 3)), jnp.float32)
  inputs = (
    frames,
    jnp.ones((2, SIDE, SIDE), bool),
    jnp.full((2, 2), SIDE),
  )

  @jax.jit
  def run(params, annotated):
    return model.apply(
      {"params": params}, *inputs, annotated, method=forward.encode_frames
    )

  return lambda annotated: run(params, annotated)


def test_only_annotated_frames_go_on_and_they_have_seen_the_others(encode):
  every = encode(None)
  frames = np.array([[2], [0]])
  some = encode(jnp.asarray(frames))
  assert some.num_frames == 1 and every.num_frames == 3
  for name in ("levels", "low_levels"):
    for x, y in zip(getattr(every, name), getattr(some, name)):
      wanted = np.stack([x[0, [2]], x[1, [0]]])
      assert y.shape[:2] == (2, 1)
      # Twice the same sums in another order.
      np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
      assert np.abs(x[0, 0] - x[0, 2]).max() > 0.01
