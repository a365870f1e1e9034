"""Values of a tree of arrays that are infinite or NaN, by name."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def _is_finite(leaf: jax.Array) -> jax.Array:
  """bool[], reduced on the device.

  A program for each shape: one of a thousand reductions, as many as a state
  has arrays, compiles for longer than all of these.
  """
  return jnp.all(jnp.isfinite(leaf))


def find_broken(tree: Any) -> list[str]:
  """Names, such as "params/encoder/bias", of the arrays of a tree that hold a
  value that is not finite."""
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  if not flat:
    return []
  paths, leaves = zip(*flat)
  # One after the other: a CPU's devices may wait for each other for ever when
  # many programs that sum over them are under way.
  finite = [bool(_is_finite(leaf)) for leaf in leaves]
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, good in zip(paths, finite)
    if not good
  ]
