"""Random weights of a variant, for benchmarks and tests.

They cost what trained ones do, and are made faster than `SgMg.init` compiles.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from sgmg_jax import types
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.model import variants


def make(variant: variants.Variant, dtype: Any = np.float32) -> types.Params:
  """The same NumPy arrays every time, of a scale that keeps activations."""
  random = np.random.RandomState(0)

  def draw(path, leaf):
    x = random.standard_normal(leaf.shape).astype(np.float32)
    fan_in = leaf.size // leaf.shape[-1] if leaf.ndim > 1 else 25
    if path[-1].key == "running_var":
      x = np.abs(x)
    return (x / np.sqrt(fan_in)).astype(dtype)

  shapes = expected_shapes.model(variant)
  return jax.tree_util.tree_map_with_path(draw, shapes)
