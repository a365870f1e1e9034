"""Data parallelism: each device takes its clips, gradients are summed.

The mesh has one axis, `data`. Parameters and optimizer state are replicated.
A machine's CPU counts as one device unless XLA_FLAGS has
--xla_force_host_platform_device_count=N; with one device per core a step of a
small model takes three quarters of the time, as small operations do not share
the cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

AXIS = "data"

# Sums over the devices that share a batch.
Total = Callable[[Any], Any]


def make_mesh(batch_size: int) -> jax.sharding.Mesh:
  """A mesh of the most devices that share the batch's clips evenly."""
  devices = jax.devices()
  count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
  return jax.sharding.Mesh(np.array(devices[:count]), (AXIS,))


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def split(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Shards the first axis, which is the batch, or clips times expressions."""
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))


def shard_step(step: Any, mesh: jax.sharding.Mesh) -> Any:
  """(state, batch) -> (state, metrics) on every device's share of the batch.

  Inside, `step` must sum over the axis `AXIS` what depends on the batch.
  """
  whole, share = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(AXIS)
  return jax.shard_map(
    step,
    mesh=mesh,
    in_specs=(whole, share),
    out_specs=(whole, whole),
    check_vma=False,
  )


def total_over(axis: str | None) -> Total:
  """The sum over a mesh axis; without one nothing is shared."""
  if axis is None:
    return lambda x: x
  return functools.partial(jax.lax.psum, axis_name=axis)


def masked_mean(
  x: jax.Array, where: jax.Array, total: Total = lambda x: x
) -> jax.Array:
  """This device's share of the mean of `x` over the entries that `where`
  picks on all devices; 0 if there are none."""
  where = where.astype(jnp.float32)
  return jnp.sum(x * where) / jnp.maximum(total(jnp.sum(where)), 1.0)
