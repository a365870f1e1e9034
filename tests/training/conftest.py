"""One training step on a mesh, and steps that runs share."""

import jax
import pytest

from sgmg_jax.cli import train
from sgmg_jax.training import setup, sharding
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib


@pytest.fixture
def few_blocks():
  """The smoke config of `refer_ytvos` with few blocks: it compiles faster."""
  config = train.load_config("refer_ytvos:runlocal")
  with config.unlocked():
    config.model.update(
      depths=(1, 1, 1, 1),
      encoder_layers=1,
      decoder_layers=1,
      text_layers=1,
    )
  return config


@pytest.fixture(scope="session")
def one_step():
  """Makes the first step of an optimizer: the state after it, and metrics.

  With `optax.sgd` that is along the gradient, whose size AdamW would hide.
  """

  def run(objective, tx, params, batch, mesh, rules=(), **settings):
    state = state_lib.create(params, tx, use_ema=True)
    shardings = sharding.by_rules(state, rules, mesh)
    step = step_lib.make_step(
      sharding.add_over_batch(objective, mesh, shardings.params),
      tx,
      seed=0,
      ema_decay=0.9,
      **settings,
    )
    jitted = jax.jit(
      step,
      in_shardings=(shardings, sharding.batch(mesh)),
      out_shardings=(shardings, sharding.replicated(mesh)),
    )
    return jitted(state, batch)

  return run


@pytest.fixture(scope="module")
def shared_steps():
  """The runs of a module trace the step of a config once: one that goes on
  from a checkpoint is traced anew only where its state has another form."""
  steps = {}
  of_config = setup.of_config

  def once(config, *args, **kwargs):
    key = config.ema_decay, config.data.batch_size, config.data.num_frames
    if key not in steps:
      steps[key] = of_config(config, *args, **kwargs)
    return steps[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(setup, "of_config", once)
    yield
