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
from sgmg_jax.kernels.deform_attn import arg_specs, pallas_gpu

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


def compile_both(problem, sharding, implementation=None):
  """Compiled forward pass, and forward with backward pass."""
  attend = functools.partial(
    deform_attn.deformable_attention,
    level_shapes=problem.level_shapes,
    implementation=implementation,
  )

  def with_gradients(*args):
    out, pull_back = jax.vjp(attend, *args)
    return out, pull_back(out)

  arguments = arg_specs.arguments(problem, sharding)[:3]
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


def size(problem):
  arguments = arg_specs.arguments(problem)[:3]
  return sum(x.size * x.dtype.itemsize for x in arguments)


@pytest.mark.parametrize("video", arg_specs.FRAME_SIZES.values())
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_encoder(sharding, video, dtype):
  problem = arg_specs.encoder(*video, dtype=dtype)
  forward, both = compile_both(problem, sharding)
  assert kernels(forward) == ["forward"]
  assert sorted(kernels(both)) == ["backward", "forward"]
  # Nothing round the kernel: no transposed, padded or gathered copies.
  assert temporary_bytes(forward) < 2**20
  # Which cells the scatter adds to and float32 sums, never gathered rows:
  # those would be 25 times the arguments.
  assert temporary_bytes(both) < 2 * size(problem)


@pytest.mark.parametrize("video", arg_specs.FRAME_SIZES.values())
def test_decoder(sharding, video):
  """Few queries get XLA's form, and touch few of the values."""
  encoder = arg_specs.encoder(*video, dtype=jnp.bfloat16)
  problem = arg_specs.decoder(encoder)
  forward, both = compile_both(problem, sharding)
  assert not kernels(forward) + kernels(both)
  assert temporary_bytes(forward) < 2**20
  # The gradient of the values in float32 is as large as the values.
  assert temporary_bytes(both) < 4 * size(problem)


def test_decoder_by_name(sharding):
  problem = arg_specs.decoder(arg_specs.encoder(368, 640))
  forward, both = compile_both(problem, sharding, "pallas_gpu")
  assert kernels(forward) == ["forward"]
  assert sorted(kernels(both)) == ["backward", "forward"]


def test_without_set_mesh(mesh):
  """Compiles all the same, with XLA's form where JAX asks for the mesh."""
  problem = arg_specs.encoder(368, 640)
  sharding = NamedSharding(mesh, PartitionSpec())
  forward, both = compile_both(problem, sharding)
  if pallas_gpu.why_not_here() is None:
    assert kernels(forward) == ["forward"]
    assert sorted(kernels(both)) == ["backward", "forward"]
  else:
    assert not kernels(forward) + kernels(both)
    with pytest.raises(ValueError, match="pallas_gpu on cuda: .*set_mesh"):
      compile_both(problem, sharding, "pallas_gpu")
