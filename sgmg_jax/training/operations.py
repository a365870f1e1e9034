"""Count the operations of a program from its jaxpr: no compiler is asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def count_flops(jaxpr) -> int:
  """Floating-point operations of matrix products and convolutions.

  Loops count as often as they run, unlike in XLA's own analysis; of the
  branches of a condition, which are one per platform here, the one with the
  fewest operations counts. Elementwise work and gathers count nothing.
  """
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      left = equation.invars[0].aval.shape
      terms = math.prod(left[axis] for axis in contracted)
      total += 2 * terms * equation.outvars[0].aval.size
    elif name == "conv_general_dilated":
      kernel = equation.invars[1].aval
      features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
      total += 2 * kernel.size // features * equation.outvars[0].aval.size
    elif name == "cond":
      total += min(count_flops(b) for b in _jaxprs(params["branches"]))
    elif name != "pallas_call":
      inner = sum(count_flops(j) for j in _jaxprs(params.values()))
      total += inner * (params["length"] if name == "scan" else 1)
  return total


def _jaxprs(values) -> Iterator[Any]:
  for value in values:
    value = getattr(value, "jaxpr", value)
    if hasattr(value, "eqns"):
      yield value
    elif isinstance(value, tuple | list):
      yield from _jaxprs(value)
