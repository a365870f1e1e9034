"""Choose an implementation by problem and platform, with reasons.

The choice is a function of the problem and of what is lowered for: the same
program may be compiled for another machine than the one that traces it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sgmg_jax.kernels.deform_attn import problem as problem_lib

Implementation = Literal["xla", "pallas_tpu", "pallas_gpu"]

# Where each compiles; None is everywhere.
_RUNS_ON: dict[str, str | None] = {
  "xla": None,
  "pallas_tpu": "tpu",
  "pallas_gpu": "cuda",
}
# Best first. A platform not listed gets what "cpu" gets.
_PREFERENCE: dict[str, tuple[str, ...]] = {
  "cpu": ("xla",),
  "cuda": ("pallas_gpu", "xla"),
  "tpu": ("pallas_tpu", "xla"),
}


class Choice(NamedTuple):
  """Choice for one platform.

  Attributes:
    name: of the implementation, None if none of those asked for can run.
    skipped: (name, reason) of each that was considered before it.
  """

  name: str | None
  skipped: list[tuple[str, str]]


def load(name: str, direction: str | None = None) -> Any:
  """An implementation's package, or its module for one direction.

  Imported when first needed: a machine may lack what others are made with.
  """
  return importlib.import_module(
    ".".join(["sgmg_jax.kernels.deform_attn", name, *filter(None, [direction])])
  )


def explain(
  problem: problem_lib.Problem,
  implementation: Implementation | Sequence[Implementation] | None = None,
  *,
  interpret: bool = False,
  here: bool = True,
) -> dict[str, Choice]:
  """The implementation that each platform gets for a problem.

  Args:
    problem: the call, see `problem.make`.
    implementation: None for the best, a name, or names in order of
      preference.
    interpret: whether Pallas kernels are interpreted, which any platform can.
    here: of a program that is lowered in the present context, such as the mesh
      in use; False for what may run in some context.

  Returns:
    {"cpu" | "cuda" | "tpu": Choice}; any other platform gets what "cpu" gets.

  Raises:
    ValueError: unknown implementation.
  """
  return {
    platform: choose(
      problem,
      platform,
      check_names(implementation),
      interpret=interpret,
      here=here,
    )
    for platform in _PREFERENCE
  }


def check_names(
  implementation: Implementation | Sequence[Implementation] | None,
) -> tuple[str, ...] | None:
  """Names as a tuple, None as it is; raises ValueError on unknown ones."""
  if implementation is None:
    return None
  single = isinstance(implementation, str)
  names = (implementation,) if single else tuple(implementation)
  if not names or not set(names) <= set(_RUNS_ON):
    raise ValueError(
      f"unknown {implementation=}; known: None, {', '.join(_RUNS_ON)} or a "
      "sequence of these names"
    )
  return names


def choose(
  problem: problem_lib.Problem,
  platform: str,
  names: tuple[str, ...] | None,
  *,
  interpret: bool = False,
  here: bool = True,
) -> Choice:
  """One platform's part of `explain`, of names already checked."""
  skipped = []
  for name in names or _PREFERENCE[platform]:
    reason = _why_not(name, platform, problem, interpret)
    if reason is None and names is None:
      reason = _why_rather_not(name, problem)
    # Interpreted kernels are lowered as the operations they consist of.
    if reason is None and here and not interpret:
      reason = _why_not_here(name)
    if reason is None:
      return Choice(name, skipped)
    skipped.append((name, reason))
  return Choice(None, skipped)


def _why_not(name, platform, problem, interpret):
  """Reason that an implementation cannot run, or None."""
  home = _RUNS_ON[name]
  if home not in (None, platform) and not interpret:
    return f"runs on {home} only; interpret=True emulates it elsewhere"
  return _module_why_not(name, problem)


@functools.cache
def _module_why_not(name, problem):
  return load(name).why_not(problem)


def _why_not_here(name):
  """Reason that the present context forbids one, or None; never cached."""
  ask = getattr(load(name), "why_not_here", None)
  return ask() if ask is not None else None


def _why_rather_not(name, problem):
  """Reason that one that can run is not the best, or None."""
  if name != "xla" and problem.queries < problem_lib.FEW_QUERIES:
    return (
      f"{problem.queries} queries: plain XLA is faster below "
      f"{problem_lib.FEW_QUERIES}"
    )
  return None
