"""A branch that must not be compiled: lowering it raises an error.

`jax.lax.platform_dependent` traces the branch of every platform, but lowers
only that of the platform compiled for. So what cannot run on one platform is
an error when, and only when, a program is made for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import mlir

_unavailable_p = core.Primitive("deform_attn_unavailable")
_unavailable_p.multiple_results = True


@_unavailable_p.def_abstract_eval
def _abstract(*_, message, results):
  del message
  return list(results)


def _lower(context, *_, message, results):
  del context, results
  raise ValueError(message)


mlir.register_lowering(_unavailable_p, _lower)


def raises(message: str, like: Callable[..., Any]) -> Callable[..., Any]:
  """A function with the results of `like` that cannot be lowered.

  Args:
    message: of the ValueError.
    like: function of arrays; only the shapes of its results matter.
  """

  def branch(*args):
    shapes, tree = jax.tree.flatten(jax.eval_shape(like, *args))
    avals = tuple(jax.core.ShapedArray(x.shape, x.dtype) for x in shapes)
    results = _unavailable_p.bind(*args, message=message, results=avals)
    return jax.tree.unflatten(tree, results)

  return branch
