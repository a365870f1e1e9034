"""The policy for the precision of float32 arithmetic.

Accelerators round the operands of float32 matrix products and convolutions
unless told otherwise: TPUs to bfloat16, GPUs from the A100 on to TF32. Two
policies tell them:

  highest  float32 is float32 everywhere, as in the released implementation
  default  what JAX does by default, for speed

Whatever the policy, the parts that the model computes in float32 even under
mixed precision are exact (`exact`): the Fourier transforms and all of the
spectrum augmentation, sampling offsets, reference points, boxes, scores,
resizing, and the sampling of deformable attention. JAX stores the precision
in the program when it traces, so it holds in the backward pass and is part of
what identifies a compiled program.
"""

from __future__ import annotations

import contextlib
import functools
import typing
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from sgmg_jax import errors

Policy = Literal["highest", "default"]
HIGHEST = jax.lax.Precision.HIGHEST


def check(policy: str) -> Policy:
  """`policy` as it is; raises UserError on any that does not exist."""
  if policy not in (known := typing.get_args(Policy)):
    raise errors.UserError(
      f"precision: expected {' or '.join(known)}, got {policy!r}"
    )
  return policy


def scope(policy: Policy) -> contextlib.AbstractContextManager[None]:
  """Context in which what is traced follows the policy."""
  return contextlib.nullcontext() if policy == "default" else exact()


def exact() -> contextlib.AbstractContextManager[None]:
  """Context in which products and convolutions traced are exact."""
  return jax.default_matmul_precision("highest")


def follow(policy: Policy, function: Callable[..., Any]) -> Callable[..., Any]:
  """`function`, traced within `scope(policy)`."""

  @functools.wraps(function)
  def run(*args, **kwargs):
    with scope(policy):
      return function(*args, **kwargs)

  return run


def at_least_float32(x: jax.Array) -> jax.Array:
  """`x` in float32, or in float64 if that is what it comes in."""
  return x.astype(wide(x.dtype))


def wide(dtype: Any) -> Any:
  """float32, or float64 for float64: of what is never computed in less."""
  return jnp.promote_types(dtype, jnp.float32)
