"""Describe absent TPUs to compile for: libtpu needs no chip for that."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

# The smallest arrangement of each that exists.
_ARRANGEMENTS = {"v5e": "2x2", "v5p": "2x2x1", "v6e": "2x2"}
CHIPS = tuple(_ARRANGEMENTS)
# libtpu looks for a machine's TPU, and for others that use it; there is none.
ENVIRONMENT = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-8",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
}


def mesh(
  chip: str, devices: int = 1, arrangement: str | None = None
) -> jax.sharding.Mesh:
  """A mesh of `data` alone, see `training.sharding`.

  Args:
    chip: one of `CHIPS`.
    devices: how many of the arrangement's chips.
    arrangement: such as "4x4"; None: the smallest.

  Raises:
    RuntimeError: libtpu is not installed.
  """
  from jax.experimental import topologies

  for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
  topology = topologies.get_topology_desc(
    platform="tpu",
    topology_name=f"{chip}:{arrangement or _ARRANGEMENTS[chip]}",
  )
  chips = np.array(topology.devices[:devices])
  return jax.sharding.Mesh(chips.reshape(-1, 1), ("data", "fsdp"))


def place(tree: Any, chip: str) -> Any:
  """The tree's shapes and dtypes, on one chip."""
  where = jax.sharding.NamedSharding(mesh(chip), jax.sharding.PartitionSpec())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
  )
