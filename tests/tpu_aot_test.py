"""What is meant for a TPU compiles for one, ahead of time, on the CPU."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sgmg_jax.kernels import deform_attn

from sgmg_jax.model import sgmg, variants

pytestmark = pytest.mark.tpu_aot


@pytest.fixture(scope="module")
def on_tpu():
  """Turns a shape into one that lives on a v5e chip."""
  from jax.experimental import topologies
  from jax.sharding import Mesh, NamedSharding, PartitionSpec

  # libtpu looks for a machine's TPU first; there is none.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
  os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
  topology = topologies.get_topology_desc(
    platform="tpu", topology_name="v5e:2x2"
  )
  mesh = Mesh(np.array(topology.devices[:1]), ("data",))
  sharding = NamedSharding(mesh, PartitionSpec())

  def place(tree):
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )

  return place


def shape(dims, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(dims, dtype)


def inputs(frames, height, width, tokens):
  return (
    shape((1, frames, height, width, 3)),
    shape((1, height, width), bool),
    shape((1, 2), jnp.int32),
    shape((1, tokens), jnp.int32),
    shape((1, tokens), bool),
  )


def test_deformable_attention_forward_and_backward(on_tpu):
  level_shapes = ((46, 80), (23, 40), (12, 20), (6, 10))
  points = (2, 4900, 8, 4, 4)
  args = on_tpu((shape((2, 4900, 8, 32)), shape((*points, 2)), shape(points)))

  def loss(*args):
    return deform_attn.deformable_attention(
      *args, level_shapes=level_shapes
    ).sum()

  compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*args).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 16e9


@pytest.mark.slow
def test_model(on_tpu):
  """The bundled model's sizes in bfloat16; larger ones take minutes."""
  model = sgmg.SgMg(variants.get_variant("mini"), dtype=jnp.bfloat16)
  params = jax.eval_shape(lambda: sgmg.init_params(model, jax.random.key(0)))
  run = jax.jit(lambda params, *args: model.apply({"params": params}, *args))
  args = on_tpu((params, *inputs(2, 160, 160, 16)))
  memory = run.lower(*args).compile().memory_analysis()
  used = memory.temp_size_in_bytes + memory.argument_size_in_bytes
  assert used < 16e9, f"{used / 1e9:.1f} GB"
