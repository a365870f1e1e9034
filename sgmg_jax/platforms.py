"""Computations that have a form of their own on some platforms.

A program gets the form of the platform it is lowered for, so that it may be
compiled or exported for others. `assume` gives it another platform's form
instead, to test on a CPU what accelerators run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax

# Part of what JAX identifies traced, lowered and compiled programs by.
_assumed = jax.make_user_context(None)


def assume(platform: str | None) -> contextlib.AbstractContextManager[None]:
  """Context in which programs get the forms of "cpu", "cuda" or "tpu".

  Pallas kernels, which compile for their own platform only, are interpreted.
  None: the forms of the platform that they are lowered for.
  """
  return _assumed(platform)


def assumed() -> str | None:
  """The platform of the innermost `assume`."""
  return _assumed.value


def dependent(
  *args: Any,
  default: Callable[..., Any],
  **forms: Callable[..., Any],
) -> Any:
  """`jax.lax.platform_dependent` with regard to `assume`.

  Args:
    *args: of the forms.
    default: the form on platforms that `forms` does not name.
    **forms: by platform, "cpu", "cuda" or "tpu".
  """
  if assumed() is not None:
    return forms.get(assumed(), default)(*args)
  return jax.lax.platform_dependent(*args, default=default, **forms)
