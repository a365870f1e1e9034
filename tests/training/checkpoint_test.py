"""Checkpoints: nothing lost, nothing mixed up."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
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


def _save(folder, *steps, keep=3):
  writer = checkpoint.Checkpointer(folder, keep=keep)
  for step in steps:
    writer.save(_state(step), {"step": step})
  writer.close()


def _restore(folder):
  reader = checkpoint.Checkpointer(folder, keep=3)
  restored, position = reader.restore(_state()), reader.read_position()
  reader.close()
  assert position == {"step": int(restored.step)}
  kernel = _state(int(restored.step)).params["a"]["kernel"]
  np.testing.assert_array_equal(restored.params["a"]["kernel"], kernel)
  return int(restored.step)


def _names(folder):
  return sorted(path.name for path in (folder / "checkpoints").iterdir())


def _largest(folder):
  files = [path for path in folder.rglob("*") if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def _flip(folder):
  path = _largest(folder / "state")
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


DAMAGES = {
  "flip": _flip,
  "cut": lambda folder: os.truncate(_largest(folder / "state"), 100),
  "delete": lambda folder: _largest(folder / "state").unlink(),
  "position": lambda folder: (folder / "data/metadata").write_text("{}"),
  "no item": lambda folder: shutil.rmtree(folder / "state"),
  "no digests": lambda folder: (folder / "digests.json").unlink(),
  "digests": lambda folder: (folder / "digests.json").write_bytes(b"\xff["),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
  tmp_path, caplog, damage
):
  _save(tmp_path, 1, 2, 3)
  DAMAGES[damage](tmp_path / "checkpoints/3")
  assert _restore(tmp_path) == 2
  assert _names(tmp_path) == ["1", "2", "3.damaged"]
  (line,) = [r.getMessage() for r in caplog.records if "damaged" in r.msg]
  assert "checkpoints/3 is damaged (" in line and line.endswith("; using 2")
  # The run writes that step again, and it may be damaged again.
  _save(tmp_path, 3)
  DAMAGES[damage](tmp_path / "checkpoints/3")
  assert _restore(tmp_path) == 2
  assert _names(tmp_path) == ["1", "2", "3.damaged", "3.damaged2"]


def test_nothing_intact_is_an_error_and_nothing_is_touched(tmp_path):
  _save(tmp_path, 1, 2)
  for step in ("1", "2"):
    _flip(tmp_path / "checkpoints" / step)
  with pytest.raises(UserError, match="points/2 is damaged .state/.* changed"):
    checkpoint.Checkpointer(tmp_path, keep=1)
  assert _names(tmp_path) == ["1", "2"]


def _make_old(folder):
  """As it was before there were digests."""
  (folder / "digests.json").unlink()
  notes = json.loads((folder / "_CHECKPOINT_METADATA").read_text())
  notes["custom_metadata"] = {}
  (folder / "_CHECKPOINT_METADATA").write_text(json.dumps(notes))


def test_checkpoints_older_than_digests_are_taken_as_they_are(tmp_path, caplog):
  _save(tmp_path, 1)
  _make_old(tmp_path / "checkpoints/1")
  assert _restore(tmp_path) == 1
  assert "checkpoints/1 is older than digests: not checked" in caplog.text


def test_damage_of_these_is_one_line_with_the_remedy(tmp_path):
  _save(tmp_path, 1, 2, 3)
  for step in (2, 3):
    _make_old(tmp_path / f"checkpoints/{step}")
  shutil.rmtree(tmp_path / "checkpoints/3/state")
  for path in (tmp_path / "checkpoints/2/state").rglob("*"):
    if path.is_file():
      os.truncate(path, path.stat().st_size // 2)
  reader = checkpoint.Checkpointer(tmp_path, keep=3)
  with pytest.raises(
    UserError, match="points/2 is damaged .*: rename"
  ) as error:
    reader.restore(_state())
  assert "\n" not in str(error.value)
  reader.close()
  (tmp_path / "checkpoints/2").rename(tmp_path / "checkpoints/2.damaged")
  assert _restore(tmp_path) == 1


def test_damaged_notes_of_orbax_do_no_harm(tmp_path):
  _save(tmp_path, 1, 2)
  for path in (tmp_path / "checkpoints").glob("*/_CHECKPOINT_METADATA"):
    path.write_text("{")
  assert _restore(tmp_path) == 2


def test_the_last_good_one_outlives_a_save_that_fails(tmp_path, monkeypatch):
  _save(tmp_path, 1, keep=1)
  writer = checkpoint.Checkpointer(tmp_path, keep=1)

  def fail(folder):
    raise OSError("disk full")

  monkeypatch.setattr(checkpoint.checkpoint_digests, "write", fail)
  writer.save(_state(2), {"step": 2})
  with pytest.raises(OSError, match="disk full"):
    writer.close()
  monkeypatch.undo()
  assert _restore(tmp_path) == 1
  # What the failed save left goes with the next one.
  _save(tmp_path, 3, keep=1)
  assert _names(tmp_path) == ["3"]


def test_a_broken_state_is_not_saved(tmp_path):
  """Of each kind: parameters, the optimizer's moments, the average."""
  writer = checkpoint.Checkpointer(tmp_path, keep=1)
  writer.save(_state(1), {"step": 1})
  good = _state(2)
  nan = lambda tree: jax.tree.map(lambda x: x.at[-1].set(jnp.nan), tree)
  mu = optax.tree_utils.tree_get(good.opt_state, "mu")
  broken_mu = optax.tree_utils.tree_set(good.opt_state, mu=nan(mu))
  for change, names in (
    (dict(params=nan(good.params)), "params/a/kernel and 1 more; not saved"),
    (dict(ema=nan(good.ema)), "ema/a/kernel and 1 more"),
    (dict(opt_state=broken_mu), "opt_state/.*mu/a/kernel"),
    (
      dict(ema=jax.tree.map(lambda x: x.at[0].set(-jnp.inf), good.ema)),
      "ema/a/kernel and 1 more",
    ),
  ):
    message = f"after step 2: {names}.*the last good step is 1"
    with pytest.raises(FloatingPointError, match=message):
      writer.save(good.replace(**change), {})
  writer.close()
  assert _restore(tmp_path) == 1


def test_one_saved_broken_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoint.broken_arrays, "find_broken", lambda _: [])
  writer = checkpoint.Checkpointer(tmp_path, keep=1)
  state = _state(4)
  state.params["a"]["kernel"] = jnp.full((2, 3), jnp.inf)
  writer.save(state, {})
  writer.close()
  monkeypatch.undo()
  reader = checkpoint.Checkpointer(tmp_path, keep=1)
  with pytest.raises(
    UserError, match="checkpoints/4 is not finite in params/a"
  ):
    reader.restore(_state())
  reader.close()
