"""Parts of a model, for people: its top-level modules, without numbers."""

from __future__ import annotations

import collections
import re
from collections.abc import Sequence

import jax
import optax

from sgmg_jax import types
from sgmg_jax.training import optimizer


def part_of(module: str) -> str:
  """The part of a top-level module: `input_fft_0` and `input_fft_1` are one."""
  return re.sub(r"(_\d+)+$", "", module)


def gradient_norms(
  grads: types.Params, trainable: types.Params
) -> dict[str, types.Array]:
  """The norm of each part's gradient, of parts that are trained.

  Args:
    trainable: tree of bool, see `optimizer.trainable_mask`.

  Returns:
    float[] each, by "grad_norm/<part>".
  """
  parts = collections.defaultdict(list)
  for module, tree in grads.items():
    if any(jax.tree.leaves(trainable[module])):
      parts[part_of(module)].append(tree)
  return {
    f"grad_norm/{part}": optax.global_norm(trees)
    for part, trees in parts.items()
  }


def rate_multipliers(
  params: types.Params, groups: Sequence[optimizer.Group]
) -> dict[str, float]:
  """What the learning rate of each part is multiplied by, the largest factor
  where groups divide one; without frozen parts and those of factor 1.
  """
  largest = {}
  for module, labels in optimizer.group_labels(params, groups).items():
    part = part_of(module)
    for label in set(jax.tree.leaves(labels)):
      factor = groups[int(label)][1] or 0.0
      largest[part] = max(largest.get(part, 0.0), factor)
  return {part: x for part, x in largest.items() if x not in (0.0, 1.0)}
