"""The GPU kernels compile for real cards, ahead of time, without one.

Needs JAX's CUDA plugin (5.5 GB): `make test-cuda-aot` installs it and runs
this.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import arg_specs, pallas_gpu
from sgmg_jax.training import gpu_topology

pytestmark = [
  pytest.mark.cuda_aot,
  pytest.mark.skipif(
    not gpu_topology.installed(),
    reason="needs JAX's CUDA plugin: make test-cuda-aot",
  ),
]

_CALL = "__gpu$xla.gpu.triton"


# One of each generation.
@pytest.fixture(scope="module", params=["h200", "a100", "rtx4090"])
def mesh(request):
  """One card that is not here."""
  card = gpu_topology.parse(request.param)
  return Mesh(np.array(card.devices()), ("data",))


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
