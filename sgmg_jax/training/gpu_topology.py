"""Describe absent NVIDIA GPUs to compile for: JAX's plugin needs no card.

XLA takes a card's description as text, see its GpuTargetConfig protocol buffer.
The numbers are those of XLA's own descriptions (openxla/xla, xla/backends/gpu/
target_config/specs) where it has one, else of NVIDIA's data sheets; the memory
of cards of 24 GB is what CUDA programs report on them.
"""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any, NamedTuple

from sgmg_jax.errors import UserError, first_line

PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
# The share of a card's memory that JAX takes, in the order it looks for it.
_SHARES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
_DEFAULT_SHARE = 0.75

_DESCRIPTION = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: {threads_per_core}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {shared_per_block}
  shared_memory_per_core: {shared_per_core}
  core_count: {cores}
  fpus_per_core: {fpus}
  clock_rate_ghz: {clock}
  l2_cache_size: {l2_cache}
  memory_bandwidth: {bandwidth}
  device_memory_size: {total_memory}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
device_description_str: "{name}"
"""


class Card(NamedTuple):
  """A kind of GPU.

  Attributes:
    name: as its driver tells it.
    major, minor: of its compute capability.
    cores: streaming multiprocessors.
    fpus: of a core, for float32.
    threads_per_core: that a core keeps at once.
    shared_per_block, shared_per_core: shared memory, bytes.
    clock: the highest, GHz.
    l2_cache: bytes.
    bandwidth: of its memory, bytes a second.
    total_memory: bytes that CUDA sees.
    flops: bfloat16 with float32 sums, dense, a second.
  """

  name: str
  major: int
  minor: int
  cores: int
  fpus: int
  threads_per_core: int
  shared_per_block: int
  shared_per_core: int
  clock: float
  l2_cache: int
  bandwidth: int
  total_memory: int
  flops: float

  @property
  def description(self) -> str:
    """What XLA wants to know, as text."""
    return _DESCRIPTION.format(**self._asdict())

  @property
  def memory(self) -> float:
    """Bytes that a program can have, see `memory_share`."""
    return memory_share() * self.total_memory


_H100 = Card(
  name="NVIDIA H100 80GB HBM3",
  major=9,
  minor=0,
  cores=132,
  fpus=128,
  threads_per_core=2048,
  shared_per_block=232448,
  shared_per_core=233472,
  clock=1.98,
  l2_cache=52428800,
  bandwidth=3_352_000_000_000,
  total_memory=84_942_979_072,
  flops=989e12,
)
_A100 = Card(
  name="NVIDIA A100-SXM4-80GB",
  major=8,
  minor=0,
  cores=108,
  fpus=64,
  threads_per_core=2048,
  shared_per_block=166912,
  shared_per_core=167936,
  clock=1.41,
  l2_cache=41943040,
  bandwidth=2_039_000_000_000,
  total_memory=85_100_068_864,
  flops=312e12,
)
# Of 24 GB the driver leaves less; the L4 keeps check bits there, too.
_RTX4090 = Card(
  name="NVIDIA GeForce RTX 4090",
  major=8,
  minor=9,
  cores=128,
  fpus=128,
  threads_per_core=1536,
  shared_per_block=101376,
  shared_per_core=102400,
  clock=2.52,
  l2_cache=75497472,
  bandwidth=1_008_000_000_000,
  total_memory=25_380_000_000,
  flops=165e12,
)
CARDS = {
  "h200": _H100._replace(
    name="NVIDIA H200",
    bandwidth=4_800_000_000_000,
    total_memory=151_397_597_184,
  ),
  "h100": _H100,
  "a100": _A100,
  "rtx4090": _RTX4090,
  "l4": _RTX4090._replace(
    name="NVIDIA L4",
    cores=58,
    clock=2.04,
    l2_cache=50331648,
    bandwidth=300_000_000_000,
    total_memory=23_600_000_000,
    flops=121e12,
  ),
}


class Topology(NamedTuple):
  """GPUs of one machine.

  Attributes:
    kind: a key of `CARDS`.
    count: of these.
  """

  kind: str
  count: int = 1

  @property
  def chip(self) -> Card:
    return CARDS[self.kind]

  @property
  def options(self) -> dict[str, Any]:
    """Of the compiler."""
    # Autotuning chooses the tiles of Triton's products, on a card; without one
    # there are shapes that no tile fits. cuBLAS takes them all.
    return {"xla_gpu_enable_triton_gemm": False}

  @property
  def counted(self) -> str:
    """What `aot.flops` counts: XLA itself counts nothing for a GPU."""
    return "GFLOP of products"

  def devices(self) -> list[Any]:
    """Its cards, to make a mesh of.

    Raises:
      UserError: JAX's CUDA plugin is not installed, or takes no such cards.
    """
    if not installed():
      raise UserError(
        "JAX's CUDA plugin is not installed: pip install sgmg_jax[cuda]"
      )
    from jax.experimental import topologies

    try:
      return list(
        topologies.get_topology_desc(
          platform="cuda",
          topology_name="",
          # Partitions, machines of each, cards of each.
          topology=f"1x1x{self.count}",
          target_config=self.chip.description,
        ).devices
      )
    except (RuntimeError, ValueError, NotImplementedError) as error:
      raise UserError(
        f"topology {self.kind}:{self.count}: {first_line(error)}"
      ) from error


def installed() -> bool:
  """Whether JAX's CUDA plugin is."""
  return any(map(importlib.util.find_spec, PLUGINS))


def memory_share() -> float:
  """The share of a card's memory that JAX takes: the environment's, or 0.75.

  Raises:
    UserError: the environment's is no share.
  """
  for variable in _SHARES:
    if text := os.environ.get(variable):
      try:
        share = float(text)
      except ValueError:
        share = 0.0
      if not 0 < share <= 1:
        raise UserError(
          f"{variable}={text}: expected more than 0 and at most 1"
        )
      return share
  return _DEFAULT_SHARE


def parse(name: str) -> Topology:
  """Reads the name of a card, such as h200, or of several, h200:8.

  Raises:
    UserError: no such card, or none of them.
  """
  match = re.fullmatch(r"(\w+)(?::([1-9]\d{0,2}))?", name)
  if not match or match[1] not in CARDS:
    raise UserError(
      f"topology {name!r}: expected one of {', '.join(CARDS)}, or several of "
      "a machine, such as h200:8"
    )
  return Topology(match[1], int(match[2] or 1))
