"""The GPU kernels compile for real cards, ahead of time, without one.

Needs JAX's CUDA plugin (5.5 GB): `make test-cuda-aot` installs it and runs
this.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import pallas_gpu

_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")

pytestmark = [
  pytest.mark.cuda_aot,
  pytest.mark.skipif(
    not any(map(importlib.util.find_spec, _PLUGINS)),
    reason="needs JAX's CUDA plugin: make test-cuda-aot",
  ),
]

# XLA's description of a card, see its GpuTargetConfig protocol buffer.
_CARD = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
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
  device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} minor: 0 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
device_description_str: "{name}"
"""
_CARDS = {
  "sm_90": dict(
    name="NVIDIA H200",
    major=9,
    shared_per_block=232448,
    shared_per_core=233472,
    cores=132,
    fpus=128,
    clock=1.98,
    l2_cache=52428800,
    bandwidth=4800000000000,
    memory=150000000000,
  ),
  "sm_80": dict(
    name="NVIDIA A100-SXM4-80GB",
    major=8,
    shared_per_block=166912,
    shared_per_core=167936,
    cores=108,
    fpus=64,
    clock=1.41,
    l2_cache=41943040,
    bandwidth=2039000000000,
    memory=85000000000,
  ),
}
# A video of 360 x 640, padded to 368 x 640, and one of 512 x 640.
_LEVELS = {
  "360x640": ((46, 80), (23, 40), (12, 20), (6, 10)),
  "512x640": ((64, 80), (32, 40), (16, 20), (8, 10)),
}
_FRAMES, _HEADS, _CHANNELS, _POINTS = 5, 8, 32, 4
_DECODER_QUERIES = 5
_CALL = "__gpu$xla.gpu.triton"


@pytest.fixture(scope="module", params=_CARDS)
def mesh(request):
  """One card that is not here."""
  from jax.experimental import topologies

  topology = topologies.get_topology_desc(
    platform="cuda",
    topology_name="",
    topology="1x1x1",
    target_config=_CARD.format(**_CARDS[request.param]),
  )
  return Mesh(np.array(topology.devices[:1]), ("data",))


@pytest.fixture
def sharding(mesh):
  """Where arrays live: on the card."""
  # JAX 0.11 and later ask the mesh in use for the card's generation.
  with jax.set_mesh(mesh):
    yield NamedSharding(mesh, PartitionSpec())


def arguments(level_shapes, dtype, sharding, queries=None):
  rows = sum(h * w for h, w in level_shapes)
  samples = (
    _FRAMES,
    queries or rows,
    _HEADS,
    len(level_shapes),
    _POINTS,
  )
  shapes = (
    ((_FRAMES, rows, _HEADS, _CHANNELS), dtype),
    ((*samples, 2), jnp.float32),
    (samples, jnp.float32),
  )
  return [jax.ShapeDtypeStruct(*shape, sharding=sharding) for shape in shapes]


def compile_both(arguments, level_shapes, implementation=None):
  """Compiled forward pass, and forward with backward pass."""
  attend = functools.partial(
    deform_attn.deformable_attention,
    level_shapes=level_shapes,
    implementation=implementation,
  )

  def with_gradients(*args):
    out, pull_back = jax.vjp(attend, *args)
    return out, pull_back(out)

  return [
    jax.jit(function).lower(*arguments).compile()
    for function in (attend, with_gradients)
  ]


def kernels(compiled):
  """Names of the Triton kernels in a compiled program."""
  lines = [x for x in compiled.as_text().splitlines() if _CALL in x]
  return [
    name
    for line in lines
    for name in ("forward", "backward")
    if f"/deform_attn_pallas_gpu_{name}/" in line
  ]


def temporary_bytes(compiled):
  return compiled.memory_analysis().temp_size_in_bytes


def size(arguments):
  return sum(x.size * x.dtype.itemsize for x in arguments)


@pytest.mark.parametrize("video", _LEVELS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_encoder(sharding, video, dtype):
  args = arguments(_LEVELS[video], dtype, sharding)
  forward, both = compile_both(args, _LEVELS[video])
  assert kernels(forward) == ["forward"]
  assert sorted(kernels(both)) == ["backward", "forward"]
  # Nothing round the kernel: no transposed, padded or gathered copies.
  assert temporary_bytes(forward) < 2**20
  # Which cells the scatter adds to and float32 sums, never gathered rows:
  # those would be 25 times the arguments.
  assert temporary_bytes(both) < 2 * size(args)


@pytest.mark.parametrize("video", _LEVELS)
def test_decoder(sharding, video):
  """Few queries get XLA's form, and touch few of the values."""
  args = arguments(
    _LEVELS[video], jnp.bfloat16, sharding, queries=_DECODER_QUERIES
  )
  forward, both = compile_both(args, _LEVELS[video])
  assert not kernels(forward) + kernels(both)
  assert temporary_bytes(forward) < 2**20
  # The gradient of the values in float32 is as large as the values.
  assert temporary_bytes(both) < 4 * size(args)


def test_decoder_by_name(sharding):
  levels = _LEVELS["360x640"]
  args = arguments(levels, jnp.float32, sharding, queries=_DECODER_QUERIES)
  forward, both = compile_both(args, levels, "pallas_gpu")
  assert kernels(forward) == ["forward"]
  assert sorted(kernels(both)) == ["backward", "forward"]


def test_without_set_mesh(mesh):
  """Compiles all the same, with XLA's form where JAX asks for the mesh."""
  levels = _LEVELS["360x640"]
  args = arguments(levels, jnp.float32, NamedSharding(mesh, PartitionSpec()))
  forward, both = compile_both(args, levels)
  if pallas_gpu.why_not_here() is None:
    assert kernels(forward) == ["forward"]
    assert sorted(kernels(both)) == ["backward", "forward"]
  else:
    assert not kernels(forward) + kernels(both)
    with pytest.raises(ValueError, match="pallas_gpu on cuda: .*set_mesh"):
      compile_both(args, levels, "pallas_gpu")
