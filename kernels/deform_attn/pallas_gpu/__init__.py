"""Deformable attention on NVIDIA GPUs: Pallas kernels of the Triton backend.

One program takes a block of queries of one head of one frame and keeps their
sums in registers. A sample reads four rows of D neighbouring channels, each
one 128-byte line in float32; neighbouring queries mostly find them in the L1
cache, and the whole table of a frame lies in L2. The gathered rows are never
written to memory.

The backward kernel writes the gradients of locations and weights, which
belong to one query each. The gradient of the values is a scatter and is left
to XLA, which adds four channels per relaxed atomic; the atomics of this
backend fence all of the GPU's memory at every single one.

JAX deprecates the backend from 0.11 on, so everything that needs it is in
this folder, and `why_not` says so on a JAX without it. From 0.11 on it also has
to know the card when a program is lowered; `why_not_here` says when it cannot.
"""

from __future__ import annotations

import functools
import logging

import jax

from sgmg_jax.kernels.deform_attn import problem as problem_lib

try:
  from jax.experimental.pallas import triton as plt

  _MISSING = None
except ImportError as error:
  plt = None
  _MISSING = f"JAX {jax.__version__} has no Triton backend of Pallas ({error})"

_DTYPES = ("float32", "bfloat16", "float16")


def why_not(problem: problem_lib.Problem) -> str | None:
  """Reason that these kernels cannot run the problem, or None."""
  if _MISSING is not None:
    _warn_once(_MISSING)
    return _MISSING
  if problem.dtype.name not in _DTYPES:
    return f"dtype {problem.dtype.name} is none of {', '.join(_DTYPES)}"
  if problem.channels & (problem.channels - 1):
    return f"{problem.channels} channels per head are no power of two"
  if not problem.frames * problem.queries * problem.heads * problem.channels:
    return "there is nothing to compute"
  return None


def why_not_here() -> str | None:
  """Reason that JAX cannot lower these kernels in this context, or None.

  It depends on `jax.set_mesh`, `jax.default_device` and what this machine has,
  so the answer holds for this lowering only.
  """
  # Until 0.10 JAX assumed some card where there is none.
  get_gpu_info = getattr(plt, "get_gpu_info", None)
  if get_gpu_info is None:
    return None
  try:
    # What the lowering itself asks, so that neither knows a card alone.
    get_gpu_info()
  except ValueError as error:
    reason = (
      f"JAX {jax.__version__} knows no GPU to lower for ({error}); "
      "jax.set_mesh with a mesh of GPUs tells it"
    )
    _warn_once(reason)
    return reason
  return None


@functools.cache
def _warn_once(reason):
  """Tell those whom it slows down, and nobody twice."""
  if jax.default_backend() == "gpu":
    logging.getLogger(__name__).warning(
      "%s: deformable attention runs as plain XLA, several times slower", reason
    )
