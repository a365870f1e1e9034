"""Groups, schedule, clipping and decay of the optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.training import optimizer
from sgmg_jax.training import schedule as schedule_lib

PARAMS = {
  "backbone_0": {"body": {"kernel": jnp.array([1.0, -2.0])}},
  "text_encoder": {"kernel": jnp.array([3.0])},
  "class_embed_0": {"bias": jnp.array([0.5])},
}
GRADS = {
  "backbone_0": {"body": {"kernel": jnp.array([0.03, -0.04])}},
  "text_encoder": {"kernel": jnp.array([0.0])},
  "class_embed_0": {"bias": jnp.array([0.12])},
}
GROUPS = (("backbone_0/.*", 0.5), ("text_encoder/.*", None), (".*", 1.0))


def _constant(learning_rate):
  return schedule_lib.step_decay(
    learning_rate, warmup_steps=0, drop_steps=(), drop_factor=0.1
  )


def _make(learning_rate, weight_decay=5e-4, grad_clip=0.1):
  return optimizer.make_optimizer(
    PARAMS,
    _constant(learning_rate),
    groups=GROUPS,
    weight_decay=weight_decay,
    grad_clip=grad_clip,
  )


def test_schedule_warms_up_and_drops():
  schedule = schedule_lib.step_decay(
    1e-2, warmup_steps=4, drop_steps=(10, 20), drop_factor=0.1
  )
  actual = [float(schedule(s)) for s in (0, 1, 3, 9, 10, 19, 20, 99)]
  expected = [2.5e-3, 5e-3, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)
  np.testing.assert_allclose(jax.jit(schedule)(jnp.int32(20)), 1e-4, rtol=1e-6)


def test_first_matching_pattern_wins():
  labels = optimizer.group_labels(PARAMS, GROUPS)
  assert jax.tree.leaves(labels) == ["0", "2", "1"]
  assert jax.tree.leaves(optimizer.trainable_mask(PARAMS, GROUPS)) == [
    True,
    True,
    False,
  ]


def test_uncovered_parameter_is_an_error():
  with pytest.raises(UserError, match="class_embed_0/bias"):
    optimizer.group_labels(PARAMS, GROUPS[:2])


def test_pattern_must_match_the_whole_name():
  with pytest.raises(UserError, match="matches parameter 'backbone_0/body"):
    optimizer.group_labels(PARAMS, (("backbone_0", 1.0), ("text.*", 1.0)))


def test_idle_pattern_is_an_error():
  with pytest.raises(UserError, match="'typo/.\\*' selects no"):
    optimizer.group_labels(PARAMS, (("typo/.*", 1.0), *GROUPS))


def test_three_steps_are_adamw_by_hand():
  rate, decay, clip = 0.5, 5e-4, 0.1
  tx = _make(rate, decay, clip)
  params, state = PARAMS, tx.init(PARAMS)
  p = {"b": np.array([1.0, -2.0]), "c": np.array([0.5])}
  gradients = {"b": np.array([0.03, -0.04]), "c": np.array([0.12])}
  scale = {"b": 0.5, "c": 1.0}
  m = {k: 0.0 for k in p}
  v = {k: 0.0 for k in p}
  for t, factor in enumerate((1.0, -2.0, 0.5), 1):
    updates, state = tx.update(
      jax.tree.map(lambda x, f=factor: f * x, GRADS), state, params
    )
    params = optax.apply_updates(params, updates)
    # The norm of all gradients is 0.13, -2 * 0.13, 0.065; over 0.1 is clipped.
    g = {
      k: factor * x * min(1, clip / abs(0.13 * factor))
      for k, x in gradients.items()
    }
    for k in p:
      m[k] = 0.9 * m[k] + 0.1 * g[k]
      v[k] = 0.999 * v[k] + 0.001 * g[k] ** 2
      adam = m[k] / (1 - 0.9**t)
      adam = adam / (np.sqrt(v[k] / (1 - 0.999**t)) + 1e-8)
      p[k] = p[k] - scale[k] * rate * (adam + decay * p[k])
  np.testing.assert_allclose(
    params["backbone_0"]["body"]["kernel"], p["b"], rtol=1e-4
  )
  np.testing.assert_allclose(params["class_embed_0"]["bias"], p["c"], rtol=1e-4)
  # Frozen: neither the gradient nor the decay moves it.
  assert float(params["text_encoder"]["kernel"][0]) == 3.0


def test_frozen_parameters_cost_no_state():
  leaves = jax.tree.leaves(_make(1e-2).init(PARAMS))
  # Two moments of three trained numbers; counters are scalars.
  assert sum(leaf.size for leaf in leaves if leaf.ndim) == 6


def test_muon_makes_steps_of_matrices_orthogonal():
  random = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  params = {
    "layer": {"kernel": draw(2, 4, 16), "bias": draw(16)},
    "word_embeddings": {"embedding": draw(20, 16)},
    "heads": {"kernel": draw(16, 4)},
    "attn": {"relative_position_bias_table": draw(50, 16)},
    "frozen": {"kernel": draw(16, 16)},
  }
  rate = 0.1
  tx = optimizer.make_optimizer(
    params,
    _constant(rate),
    groups=(("frozen/.*", None), ("layer/.*", 0.5), (".*", 1.0)),
    weight_decay=0.0,
    grad_clip=1.0,
    name="muon",
    heads=("heads",),
  )
  # Nearly of rank one, as steps of AdamW would be.
  grads = jax.tree.map(jnp.ones_like, params)
  noise = 0.3 * draw(2, 4, 16)
  grads["layer"]["kernel"] = grads["layer"]["kernel"] + noise
  updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
  step = np.asarray(updates["layer"]["kernel"]).reshape(8, 16)
  values = np.linalg.svd(step, compute_uv=False)
  assert values.min() > 0.5 * values.max()
  # As large as AdamW's: 0.2 of its bound.
  size = np.sqrt(np.mean(step**2))
  assert size == pytest.approx(0.5 * rate * 0.2, rel=0.2)
  # Adam's first steps are the gradient's sign.
  (first, *others) = (
    np.unique(np.round(jax.tree.leaves(updates[name])[0], 5))
    for name in ("word_embeddings", "heads", "attn")
  )
  assert len(first) == 1 and all(np.array_equal(first, x) for x in others)
  assert 0.4 * rate < -first < 0.8 * rate
  np.testing.assert_allclose(updates["layer"]["bias"], first[0] / 2, 1e-3)
  assert not np.asarray(updates["frozen"]["kernel"]).any()


def test_unknown_optimizer():
  with pytest.raises(UserError, match="optimizer.name: expected adamw or muon"):
    optimizer.make_optimizer(
      PARAMS,
      _constant(0.1),
      groups=GROUPS,
      weight_decay=0.0,
      grad_clip=0.1,
      name="sgd",
    )
