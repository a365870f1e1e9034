"""How state and batches lie on the devices: data parallelism and FSDP.

The mesh has two axes. A batch is shared over both, by its clips; parameters,
optimizer state and moving average are shared over `fsdp` as a list of rules
says, and gathered where a step uses them. Every device computes the loss of
its own clips, in a program of its own: window attention, Fourier transforms,
sorting and kernels never meet the partitioner, and the only things that travel
are parameters, their gradients and sums of losses.

A machine's CPU counts as one device unless XLA_FLAGS has
--xla_force_host_platform_device_count=N; with one device per core a step of a
small model takes three quarters of the time, as small operations do not share
the cores.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from sgmg_jax.errors import UserError

AXES: Final = ("data", "fsdp")
# Gathering smaller arrays takes more time than storing them takes memory.
_SMALLEST: Final = 4096

# (regular expression, rule): "replicate"; "fsdp", the longest axis that can be
# cut; or an axis of the mesh or None for every axis of the array.
Rule = tuple[str, str | Sequence[str | None]]


def make_mesh(
  batch_size: int,
  *,
  data: int = -1,
  fsdp: int = 1,
  accumulation: int = 1,
  devices: Sequence[jax.Device] | None = None,
) -> jax.sharding.Mesh:
  """Arranges the devices.

  Args:
    batch_size: clips of a step, over all devices.
    data, fsdp: sizes of the axes; -1 takes what the other leaves.
    accumulation: parts of the batch that are computed one after the other.
    devices: None: all there are. One process may leave some of them out.

  Raises:
    UserError: the sizes do not fit the devices, or these the batch.
  """
  for name, number in dict(
    batch_size=batch_size, accumulation=accumulation
  ).items():
    if number < 1:
      raise UserError(f"{name}: expected at least 1, got {number}")
  devices = list(jax.devices() if devices is None else devices)
  data, fsdp = _axis_sizes(data, fsdp, len(devices))
  used = data * fsdp
  if used != len(devices) and jax.process_count() > 1:
    raise UserError(
      f"mesh: data={data} x fsdp={fsdp} are {used} devices, expected all "
      f"{len(devices)} where several processes share them"
    )
  if batch_size % (used * accumulation):
    raise UserError(_misfit(batch_size, used, accumulation))
  grid = np.array(devices[:used]).reshape(data, fsdp)
  return jax.sharding.Mesh(grid, AXES)


def _misfit(batch_size: int, used: int, accumulation: int) -> str:
  parts = f" in {accumulation} parts (accumulation)" * (accumulation > 1)
  unit = used * accumulation
  below, above = batch_size // unit * unit, -(-batch_size // unit) * unit
  expected = f"data.batch_size={f'{below} or ' * bool(below)}{above}"
  if accumulation > 1 and batch_size % used == 0:
    expected += ", accumulation=1"
  fewer = [n for n in range(1, used) if batch_size % (n * accumulation) == 0]
  if fewer and jax.process_count() == 1:
    expected += f", or {fewer[-1]} of the devices (mesh.data, mesh.fsdp)"
  return (
    f"a batch of {batch_size} clips cannot be shared by {used} devices{parts}: "
    f"expected {expected}"
  )


def _axis_sizes(data: int, fsdp: int, count: int) -> tuple[int, int]:
  given = [n for n in (data, fsdp) if n != -1]
  known = math.prod(given)
  if not given or min(given) < 1 or known > count:
    raise UserError(
      f"mesh: data={data}, fsdp={fsdp}: expected sizes whose product is at "
      f"most the number of devices, {count}; one may be -1"
    )
  if len(given) == 1 and count % known:
    raise UserError(
      f"mesh: data={data}, fsdp={fsdp}: {count} devices cannot be cut into "
      f"{known}"
    )
  rest = count // known
  return rest if data == -1 else data, rest if fsdp == -1 else fsdp


def batch(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Of a batch: by the first axis, which is clips, or clips x expressions."""
  return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def place(x: Any, sharding: NamedSharding) -> jax.Array:
  """A global array of one that every process has whole."""
  whole = np.asarray(x)
  return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)


def by_rules(tree: Any, rules: Sequence[Rule], mesh: jax.sharding.Mesh) -> Any:
  """The sharding of every array of a train state.

  Args:
    rules: the first whose expression matches an array's whole name, such as
      `params/backbone_0/body/...`, decides; without one it is replicated.

  Raises:
    UserError: a rule that is none, that an array cannot follow, or that is no
      array's first match.
  """
  compiled = [(_compile(pattern), rule) for pattern, rule in rules]
  used = set()

  def decide(path, x):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    for pattern, rule in compiled:
      if pattern.fullmatch(name):
        used.add(pattern)
        return NamedSharding(mesh, _spec(name, x.shape, rule, mesh))
    return replicated(mesh)

  shardings = jax.tree_util.tree_map_with_path(decide, tree)
  for pattern, _ in compiled:
    if pattern not in used:
      raise UserError(
        f"sharding: {pattern.pattern!r} decides about no array, whose names "
        "begin with params/, opt_state/ or ema/"
      )
  return shardings


def _compile(pattern: str) -> re.Pattern[str]:
  try:
    return re.compile(pattern)
  except re.error as error:
    raise UserError(
      f"sharding: {pattern!r} is no regular expression ({error})"
    ) from error


def _spec(name, shape, rule, mesh) -> PartitionSpec:
  if rule == "replicate":
    return PartitionSpec()
  if rule == "fsdp":
    count = mesh.shape["fsdp"]
    able = [i for i, n in enumerate(shape) if n % count == 0]
    if count == 1 or not able or math.prod(shape) < _SMALLEST:
      return PartitionSpec()
    longest = max(able, key=lambda i: shape[i])
    return PartitionSpec(*(None,) * longest, "fsdp")
  if isinstance(rule, str) or any(a not in (None, *AXES) for a in rule):
    raise UserError(
      f"sharding: {rule!r}: expected replicate, fsdp, or for every axis of an "
      f"array None or one of {', '.join(AXES)}"
    )
  cut = [axis for axis in rule if axis]
  if (
    len(rule) != len(shape)
    or len(cut) != len(set(cut))
    or any(axis and size % mesh.shape[axis] for axis, size in zip(rule, shape))
  ):
    raise UserError(
      f"sharding: {name} of shape {shape} cannot be shared as {tuple(rule)} "
      f"over {dict(mesh.shape)}"
    )
  return PartitionSpec(*rule)


def add_over_batch(
  function: Callable[[Any, Any, Any], Any],
  mesh: jax.sharding.Mesh,
  params_shardings: Any,
) -> Callable[[Any, Any, Any], Any]:
  """Adds what `function` returns for each device's share of a batch.

  Args:
    function: (parameters, batch, rngs) -> tree of sums over that batch, which
      gets whole parameters. Each device draws its own dropout mask.
    params_shardings: how the parameters arrive, tree of shardings.

  Returns:
    The same of global arrays, to be traced under `jax.jit`. Its derivative
    adds gradients over the batch and leaves each device its part of them
    (reduce-scatter).
  """
  if mesh.size == 1:
    return function
  specs = jax.tree.map(lambda sharding: sharding.spec, params_shardings)

  def share(params, batch, rngs):
    index = jax.lax.axis_index(AXES)
    rngs = {k: jax.random.fold_in(v, index) for k, v in rngs.items()}
    params = jax.tree.map(_gather, params, specs)
    return jax.tree.map(lambda x: x[None], function(params, batch, rngs))

  whole, split = PartitionSpec(), PartitionSpec(AXES)
  shares = jax.shard_map(
    share,
    mesh=mesh,
    in_specs=(specs, split, whole),
    out_specs=split,
    check_vma=False,
  )

  def run(params, batch, rngs):
    return jax.tree.map(lambda x: x.sum(0), shares(params, batch, rngs))

  return run


def _gather(x: jax.Array, spec: PartitionSpec) -> jax.Array:
  for dimension, axis in enumerate(spec):
    if axis is not None:
      x = jax.lax.all_gather(x, axis, axis=dimension, tiled=True)
  return x
