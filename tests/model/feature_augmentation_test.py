"""What stands in for the spectrum augmentation in Tables 5 and H."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.model import feature_augmentation, variants

GAUSSIAN = jnp.zeros((5, 6))


def _init(spectral, channels):
  module = feature_augmentation.make(spectral)
  x = jax.ShapeDtypeStruct((2, 5, 6, channels), jnp.float32)
  init = lambda x: module.init(jax.random.key(0), x, GAUSSIAN)
  return module, jax.eval_shape(init, x).get("params", {})


@pytest.mark.parametrize(
  "spectral, count",
  [("fft", 1_181_184), ("none", 0), ("conv", 2_360_064), ("linear", 1_181_440)],
)
def test_parameters_of_table_h(spectral, count):
  """The table counts a pair, 2.4, 4.7 and 2.4 million."""
  _, params = _init(spectral, 256)
  assert sum(x.size for x in jax.tree.leaves(params)) == count


def test_every_choice_is_made():
  for spectral in variants.SPECTRAL:
    assert feature_augmentation.make(spectral, dtype=jnp.float32)


def _random(params, scale=0.3):
  random = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jnp.asarray(random.normal(0, scale, x.shape), jnp.float32), params
  )


@pytest.mark.parametrize("spectral", ["none", "conv", "linear"])
def test_without_weights_it_is_the_identity(spectral):
  module, params = _init(spectral, 4)
  x = jax.random.normal(jax.random.key(1), (2, 5, 6, 4))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), params)
  y = module.apply({"params": zeros}, x, GAUSSIAN)
  np.testing.assert_array_equal(y, x)
  if params:
    y = module.apply({"params": _random(params)}, x, GAUSSIAN)
    assert y.shape == x.shape and np.abs(y - x).max() > 0.1


def test_damped_tokens_go_through_layers_of_their_own():
  module, params = _init("linear", 4)
  params = _random(params)
  x = jax.random.normal(jax.random.key(1), (1, 5, 6, 4))
  y = module.apply({"params": params}, x, GAUSSIAN)
  # A strength near one leaves nothing of x, and the biases alone answer.
  for name in ("fc_0", "fc_2"):
    kernel = params[name]["kernel"]
    params[name]["kernel"] = 1e3 * jnp.ones_like(kernel)
  params["laplace"]["bias"] = 1e3 * jnp.ones(4)
  damped = module.apply({"params": params}, x, GAUSSIAN)
  hidden = jax.nn.relu(params["conv1"]["bias"])
  same = hidden @ params["conv2"]["kernel"] + params["conv2"]["bias"]
  np.testing.assert_allclose(damped, x + same, rtol=1e-4, atol=1e-5)
  assert np.abs(y - damped).max() > 0.1
