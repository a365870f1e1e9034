"""Choose a function by platform when the program is lowered.

`jax.lax.platform_dependent` does the same but traces every platform's branch
wherever the program runs; importing and tracing the kernels of machines that
are not there would take seconds. Here only what is compiled is traced, and a
platform that has nothing to run is an error only if it is compiled for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import mlir

from sgmg_jax import platforms

# Platforms that have branches of their own; any other is lowered as "cpu".
PLATFORMS = ("cpu", "cuda", "tpu")

_call_p = core.Primitive("deform_attn")
_call_p.multiple_results = True


def call(
  choose: Callable[[str], Callable[..., Any]],
  results: Sequence[jax.ShapeDtypeStruct],
  *args: jax.Array,
) -> list[jax.Array]:
  """`choose(platform)(*args)` for the platform compiled for, or assumed.

  Args:
    choose: gives each of `PLATFORMS` a function from arrays to one or a tuple
      of them, or raises what then lowering raises.
    results: shapes and dtypes of the results.
    args: arrays. The function sees them as they are on one device, without
      types of sharding.
  """
  # Zeros, never computed, that vary over the devices of a shard_map as the
  # results do.
  zero = sum(jnp.sum(x[:0], dtype=jnp.float32) for x in args)
  like = [jnp.full(x.shape, zero, x.dtype) for x in results]
  return _call_p.bind(*args, *like, choose=choose, num_results=len(like))


@_call_p.def_abstract_eval
def _abstract(*avals, choose, num_results):
  del choose
  return list(avals[-num_results:])


@_call_p.def_impl
def _run(*args, **static):
  with jax.disable_jit(False):
    return jax.jit(lambda *args: _call_p.bind(*args, **static))(*args)


def _lowering(platform):
  def lower(context, *args, choose, num_results):
    function = choose(platforms.assumed() or platform)
    avals = context.avals_in[:-num_results]
    context = context.replace(
      avals_in=[jax.core.ShapedArray(x.shape, x.dtype) for x in avals]
    )
    flat = mlir.lower_fun(
      lambda *args: jax.tree.leaves(function(*args)), multiple_results=True
    )
    return flat(context, *args[:-num_results])

  return lower


mlir.register_lowering(_call_p, _lowering("cpu"))
for _platform in PLATFORMS:
  mlir.register_lowering(_call_p, _lowering(_platform), platform=_platform)
