"""Values of a tree of arrays that are infinite or NaN, by name."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


@jax.jit
def _are_finite(leaves: list[jax.Array]) -> jax.Array:
  """bool[N], of N arrays: one reduction each, on the device."""
  return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])


def find_broken(tree: Any) -> list[str]:
  """Names, such as "params/encoder/bias", of the arrays of a tree that hold a
  value that is not finite."""
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  if not flat:
    return []
  paths, leaves = zip(*flat)
  finite = jax.device_get(_are_finite(list(leaves)))
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, good in zip(paths, finite)
    if not good
  ]
