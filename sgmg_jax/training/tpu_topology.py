"""Describe absent TPUs to compile for: libtpu needs no chip for that."""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from sgmg_jax.errors import UserError, first_line
from sgmg_jax.training import sharding

# libtpu looks for a machine's TPU, and for others that use it; there is none.
ENVIRONMENT = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-8",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
}


class Chip(NamedTuple):
  """A kind of TPU.

  Attributes:
    memory: of a chip, bytes that a program can have.
    flops: of a chip, bfloat16, a second.
    dimensions: of the network.
    cores: that the name of a slice counts for each chip.
  """

  memory: float
  flops: float
  dimensions: int
  cores: int


_GIB = 2**30
# https://cloud.google.com/tpu/docs/system-architecture-tpu-vm; of the memory
# the system keeps a quarter of a GiB.
CHIPS = {
  "v4": Chip(31.75 * _GIB, 275e12, 3, 2),
  "v5e": Chip(15.75 * _GIB, 197e12, 2, 1),
  "v5p": Chip(94.75 * _GIB, 459e12, 3, 2),
  "v6e": Chip(31.25 * _GIB, 918e12, 2, 1),
}
_EXAMPLES = "v5e-16, v5p-128 or v5e:4x4"


class Topology(NamedTuple):
  """A slice of TPU chips.

  Attributes:
    kind: of its chips, a key of `CHIPS`.
    arrangement: of these, such as "4x4".
  """

  kind: str
  arrangement: str

  @property
  def options(self) -> dict[str, Any]:
    """Of the compiler."""
    return {}

  @property
  def counted(self) -> str:
    """What `aot.flops` counts."""
    return "GFLOP"

  @property
  def chip(self) -> Chip:
    return CHIPS[self.kind]

  def devices(self) -> list[Any]:
    """Its chips, to make a mesh of.

    Raises:
      UserError: libtpu is not installed, or knows no such slice.
    """
    if not importlib.util.find_spec("libtpu"):
      raise UserError("libtpu is not installed: pip install sgmg_jax[tpu]")
    from jax.experimental import topologies

    for name, value in ENVIRONMENT.items():
      os.environ.setdefault(name, value)
    name = f"{self.kind}:{self.arrangement}"
    try:
      return list(
        topologies.get_topology_desc(platform="tpu", topology_name=name).devices
      )
    except (RuntimeError, ValueError, NotImplementedError) as error:
      reason = first_line(error)
      raise UserError(f"topology {name}: {reason}") from error


def parse(name: str) -> Topology:
  """Reads the name of a slice, such as v5e-16, or its arrangement, v5e:4x4.

  Raises:
    UserError: no such chip, or a number that makes no slice.
  """
  match = re.fullmatch(r"(\w+)(?:-(\d+)|:(\d+(?:x\d+)+))", name)
  if not match or match[1] not in CHIPS:
    raise UserError(
      f"topology {name!r}: expected a slice of {', '.join(CHIPS)}, such as "
      f"{_EXAMPLES}"
    )
  kind, size, arrangement = match.groups()
  if arrangement:
    return Topology(kind, arrangement)
  chip = CHIPS[kind]
  count, rest = divmod(int(size), chip.cores)
  if rest or count < 4 or count & (count - 1):
    raise UserError(
      f"topology {name!r}: expected a power of two, at least "
      f"{4 * chip.cores}; other slices by their arrangement, as v5e:4x4"
    )
  # As even as powers of two can be, the last sides the longer ones.
  exponent = count.bit_length() - 1
  sides = [
    2 ** ((exponent + i) // chip.dimensions) for i in range(chip.dimensions)
  ]
  # Chips of a host are 2x2, with three dimensions 2x2x1.
  if chip.dimensions == 3 and count == 4:
    sides = [2, 2, 1]
  return Topology(kind, "x".join(map(str, sides)))


def mesh(
  kind: str, devices: int = 1, arrangement: str | None = None
) -> jax.sharding.Mesh:
  """A mesh of `data` alone, see `sharding.make_mesh`.

  Args:
    devices: how many of the arrangement's chips.
    arrangement: such as "4x4"; None: the smallest.

  Raises:
    UserError: libtpu is not installed.
  """
  smallest = parse(f"{kind}-{4 * CHIPS[kind].cores}").arrangement
  chips = Topology(kind, arrangement or smallest).devices()
  grid = np.array(chips[:devices]).reshape(devices, 1)
  return jax.sharding.Mesh(grid, sharding.AXES)


def place(tree: Any, kind: str) -> Any:
  """The tree's shapes and dtypes, on one chip."""
  where = jax.sharding.NamedSharding(mesh(kind), jax.sharding.PartitionSpec())
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
  )
