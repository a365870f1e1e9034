"""Checkpoints: nothing lost, nothing mixed up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.training import checkpoint, optimizer
from sgmg_jax.training import state as state_lib


def _state(step=0, width=3, use_ema=True):
  params = {
    "a": {"kernel": jnp.arange(2.0 * width).reshape(2, width) + step},
    "text_encoder": {"bias": jnp.ones(4)},
  }
  tx = optimizer.make_optimizer(
    params,
    lambda step: 1e-3,
    groups=(("text_encoder/.*", None), (".*", 1.0)),
    weight_decay=0.0,
    grad_clip=1.0,
  )
  state = state_lib.create(params, tx, use_ema=use_ema)
  return state.replace(step=jnp.int32(step))


def test_round_trip_keeps_every_bit(tmp_path):
  saved = _state(step=7)
  writer = checkpoint.Checkpointer(tmp_path, keep=2)
  assert writer.latest_step is None
  writer.save(saved, {"seed": 3})
  writer.close()
  reader = checkpoint.Checkpointer(tmp_path, keep=2)
  restored = reader.restore(_state())
  assert reader.read_position() == {"seed": 3}
  reader.close()
  assert jax.tree.structure(restored) == jax.tree.structure(saved)
  for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(saved)):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


def test_keeps_the_last_ones(tmp_path):
  writer = checkpoint.Checkpointer(tmp_path, keep=2)
  for step in (1, 2, 3):
    writer.save(_state(step), {})
  writer.close()
  names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
  assert names == ["2", "3"]


def test_saved_buffers_may_be_donated(tmp_path):
  writer = checkpoint.Checkpointer(tmp_path, keep=1)
  state = _state(step=1)
  expected = np.array(state.params["a"]["kernel"])
  add = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  writer.save(state, {})
  add(state)
  writer.close()
  reader = checkpoint.Checkpointer(tmp_path, keep=1)
  restored = reader.restore(_state())
  reader.close()
  np.testing.assert_array_equal(restored.params["a"]["kernel"], expected)


def test_other_shapes_are_listed(tmp_path):
  writer = checkpoint.Checkpointer(tmp_path, keep=1)
  writer.save(_state(1, width=3), {})
  writer.close()
  reader = checkpoint.Checkpointer(tmp_path, keep=1)
  with pytest.raises(UserError) as error:
    reader.restore(_state(width=5, use_ema=False))
  reader.close()
  message = str(error.value)
  assert "params/a/kernel: saved (2, 3), expected (2, 5)" in message
  assert "ema/text_encoder/bias: saved (4,), expected nothing" in message
