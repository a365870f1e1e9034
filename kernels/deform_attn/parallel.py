"""vmap and sharding rules for functions of independent frames and heads.

A kernel is opaque to both: without these rules `jax.vmap` would have to know
its body, and the partitioner would gather all frames on every device.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec


def frames_and_heads(
  function: Callable[..., Any], layout: str
) -> Callable[..., Any]:
  """`function` with rules for vmap and for sharding.

  Args:
    function: of arrays to one array or a tuple of them.
    layout: axes of arguments and results, such as "n s m d, n q -> n q (m d)".
      Frames n come first in every array and are independent, as are heads m;
      a mapped axis becomes part of n. Arrays may be sharded over n and m,
      and are gathered over the others.

  Returns:
    A function of the same arguments and results. Nothing of this remains in
    a program for one device.
  """
  return _fold_mapped_axis(_partition(function, layout))


def _fold_mapped_axis(function):
  mapped = custom_vmap(function)

  @mapped.def_vmap
  def rule(axis_size, is_mapped, *args):
    def merge(x, has_axis):
      if not has_axis:
        x = jnp.broadcast_to(x, (axis_size, *x.shape))
      return x.reshape(-1, *x.shape[2:])

    results = mapped(*map(merge, args, is_mapped))
    results = jax.tree.map(
      lambda x: x.reshape(axis_size, -1, *x.shape[1:]), results
    )
    return results, jax.tree.map(lambda _: True, results)

  return mapped


def _partition(function, layout):
  """The partitioner's rules, for Shardy (`layout`) and GSPMD (callbacks)."""
  arguments, results = (
    [re.findall(r"\([^)]*\)|\w+", array) for array in side.split(",")]
    for side in layout.split("->")
  )
  # In order of appearance, as Shardy wants them.
  every = dict.fromkeys(axis for array in arguments for axis in array)
  whole = tuple(axis for axis in every if axis not in ("n", "m", "(m d)"))

  def specs(first):
    """Specs of arguments and of results, from the first argument's."""
    mesh_axes = dict(zip(arguments[0], first))
    n, m = mesh_axes.get("n"), mesh_axes.get("m")
    shared = {"n": n, "m": m, "(m d)": m}
    spec = lambda array: PartitionSpec(*map(shared.get, array))
    of_results = tuple(map(spec, results))
    return (
      tuple(map(spec, arguments)),
      of_results if len(results) > 1 else of_results[0],
    )

  def shardings(mesh, arg_shapes):
    first = arg_shapes[0].sharding
    known = isinstance(first, NamedSharding)
    place = functools.partial(NamedSharding, mesh)
    return jax.tree.map(place, specs(first.spec if known else ()))

  def partition(mesh, arg_shapes, result_shape):
    del result_shape
    of_arguments, of_results = shardings(mesh, arg_shapes)
    return mesh, function, of_results, of_arguments

  def infer(mesh, arg_shapes, result_shape):
    del result_shape
    return shardings(mesh, arg_shapes)[1]

  def rule(mesh, argument_types, result_types):
    del mesh, result_types
    sizes = dict(zip(arguments[0], argument_types[0].shape))
    # Shardy refuses axes of size 1 as parts of another.
    merged = "d" if sizes["m"] == 1 else "m" if sizes["d"] == 1 else "(m d)"
    return layout.replace("(m d)", merged), {"need_replication_factors": whole}

  partitioned = custom_partitioning(function)
  partitioned.def_partition(
    partition,
    infer_sharding_from_operands=infer,
    sharding_rule=rule,
  )

  def run(*args):
    sharding = jax.typeof(args[0]).sharding
    mesh = sharding.mesh
    if not mesh.explicit_axes:
      return partitioned(*args)
    # Shardings are types here, nothing is left to the partitioner.
    in_specs, out_specs = specs(sharding.spec)
    place = lambda x, spec: jax.sharding.reshard(x, NamedSharding(mesh, spec))
    return jax.shard_map(
      partitioned,
      mesh=mesh,
      axis_names=set(mesh.explicit_axes),
      in_specs=in_specs,
      out_specs=out_specs,
      check_vma=False,
    )(*map(place, args, in_specs))

  return run
