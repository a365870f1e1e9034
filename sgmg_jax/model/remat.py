"""Policies for what the backward pass computes again instead of keeping."""

from __future__ import annotations

from typing import Any, Final

import flax.linen as nn
import jax

NONE: Final = "none"
# What a block keeps beside its inputs.
POLICIES: Final = {
  NONE: None,
  "blocks": jax.checkpoint_policies.nothing_saveable,
  # Products with weights, nearly all of the operations; attention, norms and
  # activations are computed again.
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def check(policy: str | bool) -> str:
  """The name of a policy; a bool, which configs once had, is none or blocks.

  Raises:
    ValueError: there is no such policy.
  """
  name = {"True": "blocks", "False": NONE}.get(str(policy), policy)
  if name not in POLICIES:
    raise ValueError(f"expected one of {', '.join(POLICIES)}, got {policy!r}")
  return name


def wrap(block: type[nn.Module], policy: str, **options: Any) -> Any:
  """A module class whose instances follow a policy.

  Args:
    block: the class.
    policy: one of `POLICIES`.
    **options: of `nn.remat`.
  """
  if policy == NONE:
    return block
  return nn.remat(block, policy=POLICIES[policy], **options)
