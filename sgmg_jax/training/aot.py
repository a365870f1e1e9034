"""Compile the training step of a config for devices that are not here.

What is lowered is the step that `loop` runs, on shapes alone: no data, no
weights, and no memory for them. The compiler tells what each device would hold,
compute and send.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from sgmg_jax import types
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.errors import UserError, first_line
from sgmg_jax.input_pipeline.sets import registry
from sgmg_jax.model import variants
from sgmg_jax.training import operations, setup
from sgmg_jax.training import schedule as schedule_lib

# Steps of an epoch, of which only the schedule's drops know.
_STEPS_PER_EPOCH = 1000
_KINDS = (
  "all-gather",
  "all-reduce",
  "all-to-all",
  "collective-permute",
  "reduce-scatter",
)
# The result of a collective, or of the half that waits for it.
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(_KINDS)})(?:-done)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+?(\d+))\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Report:
  """What one device of a compiled step holds, computes and sends.

  Attributes:
    mesh: sizes of its axes.
    batch_size: clips of a step, over all devices.
    accumulation: parts that the batch is computed in.
    frame: (height, width) of the padded frames.
    memory: bytes by what takes them: "parameters", "optimizer", "average",
      "batch", "activations" and other temporary ones.
    flops: as the compiler counts them: without those of Pallas kernels, and
      of a loop those of one turn; of GPUs see `flops`.
    collectives: (how many, bytes of their results) by kind.
    lower_seconds, compile_seconds: how long it took.
  """

  mesh: dict[str, int]
  batch_size: int
  accumulation: int
  frame: tuple[int, int]
  memory: dict[str, int]
  flops: float
  collectives: dict[str, tuple[int, int]]
  lower_seconds: float
  compile_seconds: float

  @property
  def total_memory(self) -> int:
    return sum(self.memory.values())

  def largest_batch(self, memory: float) -> int:
    """Estimates the largest batch that fits into `memory` bytes a device.

    Activations and batch grow with a device's clips; gathered parameters,
    which are among the former, do not, so it may be a little larger.
    """
    devices = math.prod(self.mesh.values())
    fixed = sum(self.memory[k] for k in ("parameters", "optimizer", "average"))
    share = (memory - fixed) / (self.total_memory - fixed)
    unit = devices * self.accumulation
    return max(int(share * self.batch_size) // unit, 0) * unit


def abstract_batch(
  config: ConfigDict,
  variant: variants.Variant,
  frame: tuple[int, int],
) -> types.Batch:
  """Shapes of a batch of a config.

  Args:
    config: of a run.
    variant: the model's sizes.
    frame: (height, width), padded.

  Raises:
    UserError: auxiliary losses, whose labels only the data know.
  """
  if config.auxiliary:
    raise UserError(
      "auxiliary: the shapes of labels are the data's to tell, expected "
      "--config.auxiliary=()"
    )
  data = config.data
  annotated = data.get("num_annotated")
  if data.kind == "sets":
    families = {registry.about(name).family for name, *_ in data.sets}
    annotated = 1 if "actors" in families else None
  return batch_shapes(
    data.batch_size,
    data.num_frames,
    frame,
    words=min(config.tokenizer.max_tokens, variant.max_tokens),
    expressions=data.expressions_per_clip,
    annotated=annotated,
  )


def batch_shapes(
  clips: int,
  num_frames: int,
  frame: tuple[int, int],
  *,
  words: int,
  expressions: int = 1,
  annotated: int | None = None,
) -> types.Batch:
  """Shapes of a batch, as the input pipeline makes them.

  Args:
    clips: B.
    num_frames: T.
    frame: (height, width), padded.
    words: tokens of a sentence.
    expressions: E.
    annotated: K, frames with targets; None or 0: all.
  """
  rows, k = clips * expressions, annotated or num_frames
  shape = jax.ShapeDtypeStruct
  return types.Batch(
    frames=shape((clips, num_frames, *frame, 3), jnp.float32),
    pixel_valid=shape((clips, *frame), bool),
    size=shape((clips, 2), jnp.int32),
    tokens=shape((rows, words), jnp.int32),
    token_valid=shape((rows, words), bool),
    targets=types.Targets(
      boxes=shape((rows, k, 4), jnp.float32),
      masks=shape((rows, k, *frame), bool),
      valid=shape((rows, k), bool),
    ),
    annotated=shape((clips, k), jnp.int32) if k != num_frames else None,
    expression_valid=(
      shape((clips, expressions), bool) if expressions > 1 else None
    ),
  )


class Traced(NamedTuple):
  """A step that is ready to be lowered.

  Attributes:
    program: what `jax.jit(...).trace` gives.
    batch: its shapes.
  """

  program: Any
  assembly: setup.Assembly
  batch: types.Batch


def trace(
  config: ConfigDict, devices: Sequence[Any], frame: tuple[int, int]
) -> Traced:
  """Traces the step of a config for devices.

  Args:
    config: of a run, see `initial.resolve`.
    devices: those to compile for.
    frame: (height, width) of padded frames.

  Raises:
    UserError: see `setup.of_config` and `abstract_batch`.
  """
  variant = variants.get_variant(**config.model)
  model = setup.build_model(
    variant,
    dtype=config.dtype,
    remat=config.remat,
    precision=config.precision,
  )
  batch = abstract_batch(config, variant, frame)
  _, schedule = schedule_lib.plan_length(
    config, _STEPS_PER_EPOCH, config.data.batch_size
  )
  assembly = setup.of_config(
    config,
    model,
    (),
    expected_shapes.model(variant),
    schedule=schedule,
    devices=devices,
  )
  batch = setup.with_sharding(batch, assembly.batch_sharding)
  program = assembly.step.trace(assembly.state, batch)
  return Traced(program, assembly, batch)


def compile_step(
  config: ConfigDict,
  devices: Sequence[Any],
  frame: tuple[int, int],
  options: dict[str, Any] | None = None,
) -> Report:
  """Compiles the step of a config for devices, see `trace`.

  Args:
    config, devices, frame: of `trace`.
    options: of the compiler.

  Raises:
    UserError: see `trace`; or the program needs more memory than a device has.
  """
  start = time.perf_counter()
  program, assembly, batch = trace(config, devices, frame)
  lowered = lower(program, assembly.mesh)
  middle = time.perf_counter()
  compiled = compile_lowered(
    lowered,
    options,
    "data.batch_size, more accumulation, remat, dtype=bfloat16 or a larger "
    "mesh.fsdp",
  )
  end = time.perf_counter()
  memory = compiled.memory_analysis()
  state = assembly.state
  return Report(
    mesh=dict(assembly.mesh.shape),
    batch_size=config.data.batch_size,
    accumulation=config.accumulation,
    frame=frame,
    memory={
      "parameters": _device_bytes(state.params),
      "optimizer": _device_bytes(state.opt_state),
      "average": _device_bytes(state.ema),
      "batch": _device_bytes(batch),
      "activations": memory.temp_size_in_bytes,
    },
    flops=flops(compiled, program),
    collectives=collectives(compiled.as_text()),
    lower_seconds=middle - start,
    compile_seconds=end - middle,
  )


def lower(program: Any, mesh: jax.sharding.Mesh) -> Any:
  """Lowers a traced program for the devices of its arguments, `mesh`."""
  if mesh.devices.flat[0].platform != "gpu":
    return program.lower()
  # JAX 0.11 and later ask the mesh in use for the card's generation.
  with jax.set_mesh(mesh):
    return program.lower()


def flops(compiled: Any, program: Any) -> float:
  """Operations of a device, as the compiler counts them.

  XLA counts none for a GPU; then it is those of matrix products and
  convolutions alone, of loops all turns, see `operations.count_flops`.

  Args:
    compiled: a program.
    program: the same, traced.
  """
  counted = (compiled.cost_analysis() or {}).get("flops", 0.0)
  return counted or float(operations.count_flops(program.jaxpr.jaxpr))


def compile_lowered(
  lowered: Any, options: dict[str, Any] | None, remedy: str
) -> Any:
  """Compiles a lowered program.

  Args:
    lowered: by `jax.jit`.
    options: of the compiler.
    remedy: what had better be smaller.

  Raises:
    UserError: it needs more memory than a device has.
  """
  try:
    return lowered.compile(compiler_options=options)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    reason = first_line(error)
    raise UserError(
      f"it does not fit ({reason}): expected a smaller {remedy}"
    ) from error


def _device_bytes(tree: Any) -> int:
  """Bytes of a device's part of arrays, from their shapes and shardings."""
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    for x in jax.tree.leaves(tree)
  )


def collectives(program: str) -> dict[str, tuple[int, int]]:
  """(how many, bytes of their results) of a program's collectives, by kind.

  Args:
    program: compiled, as text.
  """
  counts, sizes = collections.Counter(), collections.Counter()
  for line in program.splitlines():
    if match := _COLLECTIVE.search(line):
      result, kind = match.groups()
      counts[kind] += 1
      sizes[kind] += sum(map(_bytes, _ARRAY.findall(result)))
  return {kind: (counts[kind], sizes[kind]) for kind in sorted(counts)}


def _bytes(array: tuple[str, str, str]) -> int:
  _, bits, shape = array
  count = math.prod(map(int, filter(None, shape.split(","))))
  return count * max(int(bits or 8) // 8, 1)
