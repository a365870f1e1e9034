"""Compile what an evaluation runs for a device that is not here.

Every device gets clips of its own. It encodes a clip and then answers the
sentences about it: two programs, those of `inference.programs`.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.inference import preprocess, programs
from sgmg_jax.model import variants
from sgmg_jax.training import aot, setup

# Most sentences are shorter.
_TOKENS = 16


class Program(NamedTuple):
  """What one program takes.

  Attributes:
    memory: bytes by what takes them: "parameters", "inputs", "outputs" and
      "activations", all that is temporary.
    flops: see `aot.flops`, without those of Pallas kernels.
    seconds: to lower and compile it.
  """

  memory: dict[str, int]
  flops: float
  seconds: float

  @property
  def total_memory(self) -> int:
    return sum(self.memory.values())


def compile_programs(
  config: ConfigDict,
  device: Any,
  frame: tuple[int, int],
  options: dict[str, Any] | None = None,
) -> dict[str, Program]:
  """Compiles "encode_video" and "query", of a window of frames and a sentence.

  Args:
    config: of a run, see `initial.resolve`: its model, computation and
      `export.preprocess.window`.
    device: to compile for.
    frame: (height, width) of padded frames.
    options: of the compiler.

  Raises:
    UserError: a program needs more memory than the device has.
  """
  variant = variants.get_variant(**config.model)
  made = programs.compiled(variant, config.dtype, config.precision)
  mesh = jax.sharding.Mesh(np.array([device]), ("data",))
  here = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  window = preprocess.time_bucket(config.export.preprocess.window)
  shape = jax.ShapeDtypeStruct
  results = {}

  def compile_one(name, params, *inputs):
    """Notes the program; returns the shapes of what it gives."""
    start = time.perf_counter()
    arguments = setup.with_sharding((params, *inputs), here)
    program = getattr(made, name).trace(*arguments)
    lowered = aot.lower(program, mesh)
    compiled = aot.compile_lowered(
      lowered, options, "export.preprocess.window, or dtype=bfloat16"
    )
    memory = compiled.memory_analysis()
    results[name] = Program(
      memory={
        "parameters": _bytes(params),
        "inputs": _bytes(inputs),
        "outputs": memory.output_size_in_bytes,
        "activations": memory.temp_size_in_bytes,
      },
      flops=aot.flops(compiled, program),
      seconds=time.perf_counter() - start,
    )
    return lowered.out_info

  params = expected_shapes.model(variant)
  clip = shape((1, window, *frame, 3), jnp.uint8)
  size, count = shape((1, 2), jnp.int32), shape((), jnp.int32)
  tokens = shape((1, _TOKENS), jnp.int32), shape((1, _TOKENS), bool)
  video = compile_one("encode_video", params, clip, size, count)
  text = made.encode_text.trace(params, *tokens).out_info
  compile_one("query", params, video, text)
  return results


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
