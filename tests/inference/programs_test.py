"""Compiled programs: shared, and bounded."""

import numpy as np

from sgmg_jax.inference import programs


def test_shapes_used_longest_ago_are_forgotten():
  traced = []

  def double(params, x):
    traced.append(x.shape)
    return params * x

  step = programs.BoundedJit(double, most=3)
  call = lambda size: step(np.float32(2), np.ones(size, np.float32))
  for size in (1, 2, 3, 1, 4):  # 2 has to go
    np.testing.assert_array_equal(call(size), np.full(size, 2))
    assert len(step) <= 3
  assert traced == [(1,), (2,), (3,), (4,)]
  call(1), call(3), call(4)
  assert len(traced) == 4
  call(2)
  assert traced[4:] == [(2,)] and len(step) == 3
