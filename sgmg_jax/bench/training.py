"""Speed and memory of one training step, real sizes.

The paper's step: a clip per device with one sentence, the text encoder
frozen, AdamW, the state donated. It runs in a process of its own, for the
peak of memory.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sgmg_jax import types
from sgmg_jax.bench import fixtures, report
from sgmg_jax.checkpoints import expected_shapes, random_weights
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.model import backbone, variants
from sgmg_jax.training import aot, forward, optimizer, sharding
from sgmg_jax.training import schedule as schedule_lib
from sgmg_jax.training import setup as training_setup
from sgmg_jax.training import state as state_lib

_NUM_TOKENS = 64


@dataclasses.dataclass(frozen=True)
class Setup:
  """One configuration to measure: `dtype` names the dtype of computation,
  `precision` the policy for float32 products, `remat` is `SgMg.remat`."""

  variant: str = "video_swin_t"
  frames: int = 5
  height: int = 360
  width: int = 640
  dtype: str = "float32"
  precision: str = "highest"
  remat: str = "none"
  repeats: int = 5


def measure(setup: Setup) -> dict[str, Any]:
  """Measures one configuration on one device.

  Returns:
    "seconds" (median of a step), "clips_per_second", "compile_seconds",
    "program_gb" (arguments, results and temporary buffers of the compiled
    step) and "peak_memory_gb" (of the process or the accelerator).

  Raises:
    UserError: no such variant, or a set-up that the model cannot run.
  """
  fixtures.check(setup.variant, setup.height, setup.width)
  return report.in_process(__name__, dataclasses.asdict(setup))


def breakdown(setup: Setup) -> dict[str, Any]:
  """Time and work of every part, see `breakdown.measure_training`."""
  from sgmg_jax.bench import breakdown as parts

  fixtures.check(setup.variant, setup.height, setup.width)
  model = _model(setup)
  shapes = _batch(setup, model.variant, clips=1)
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  params = random_weights.make(model.variant)
  return parts.measure_training(
    setup,
    model,
    optimizer.make_optimizer(params, **_optimizer(model.variant)),
    jax.device_put(params),
    _draw(training_setup.with_sharding(shapes, device)),
  )


def _model(setup: Setup):
  return training_setup.build_model(
    variants.get_variant(setup.variant),
    dtype=setup.dtype,
    remat=setup.remat,
    precision=setup.precision,
  )


def program(
  setup: Setup, mesh: jax.sharding.Mesh
) -> tuple[Callable[..., Any], state_lib.TrainState, types.Batch]:
  """The step on a mesh of `sharding.make_mesh`, with a clip for each device.

  Returns:
    The jitted step, and the shapes of its state and its batch, which have
    their shardings: enough to compile it for devices that are not here.
  """
  model = _model(setup)
  assembly = training_setup.assemble(
    forward.make_objective(model, text_dropout=False),
    expected_shapes.model(model.variant),
    mesh=mesh,
    seed=0,
    policy=model.precision,
    **_optimizer(model.variant),
  )
  batch = _batch(setup, model.variant, mesh.size)
  return (
    assembly.step,
    assembly.state,
    training_setup.with_sharding(batch, assembly.batch_sharding),
  )


def _batch(setup: Setup, variant: variants.Variant, clips: int) -> types.Batch:
  """Shapes of a batch, padded as the input pipeline pads."""
  return aot.batch_shapes(
    clips,
    setup.frames,
    batch_lib.padded_size(setup.height, setup.width),
    words=min(_NUM_TOKENS, variant.max_tokens),
  )


def _optimizer(variant: variants.Variant) -> dict[str, Any]:
  """Arguments of `optimizer.make_optimizer` beside the parameters."""
  constants = [(names, None) for names in backbone.constants(variant)]
  rest = (("backbone_0/.*", 0.5), ("text_encoder/.*", None), (".*", 1.0))
  return dict(
    schedule=schedule_lib.step_decay(
      5e-5, warmup_steps=0, drop_steps=(), drop_factor=0.1
    ),
    groups=(*constants, *rest),
    weight_decay=5e-4,
    grad_clip=0.1,
  )


def program_bytes(compiled: Any) -> int:
  """Memory that a compiled program needs on each device."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )


def _draw(tree: Any) -> Any:
  """Arrays of these shapes: parameters and frames are noise; masks are full,
  boxes the whole frame, tokens one word; the optimizer's state is zero."""
  random = np.random.default_rng(0)

  def draw(path, leaf):
    names = jax.tree_util.keystr(path)
    if "params" in names or "frames" in names:
      scale = max(leaf.shape[:-1] or (25,)) ** -0.5
      x = scale * random.standard_normal(leaf.shape, np.float32)
    elif "opt_state" in names or leaf.ndim == 0:
      x = np.zeros(leaf.shape, leaf.dtype)
    elif "boxes" in names:
      x = np.broadcast_to(np.array([0.5, 0.5, 1, 1], np.float32), leaf.shape)
    else:
      x = np.full(leaf.shape, 100).astype(leaf.dtype)
    return jax.device_put(x, leaf.sharding)

  return jax.tree_util.tree_map_with_path(draw, tree)


def _figures(setup: Setup) -> dict[str, Any]:
  """Measures; called in a process of its own."""
  mesh = sharding.make_mesh(1, data=1)
  step, state, batch = program(setup, mesh)
  start = time.perf_counter()
  compiled = step.lower(state, batch).compile()
  figures = {
    "compile_seconds": time.perf_counter() - start,
    "program_gb": program_bytes(compiled) / 1e9,
  }
  state, batch = _draw(state), _draw(batch)
  state, metrics = jax.block_until_ready(compiled(state, batch))
  times = []
  for _ in range(setup.repeats):
    start = time.perf_counter()
    state, metrics = jax.block_until_ready(compiled(state, batch))
    times.append(time.perf_counter() - start)
  if not np.isfinite(metrics["total"]):
    raise FloatingPointError(f"the step's loss is {metrics['total']}")
  figures["seconds"] = float(np.median(times))
  figures["clips_per_second"] = 1 / figures["seconds"]
  figures["peak_memory_gb"] = report.peak_memory_gb()
  return figures


if __name__ == "__main__":
  report.answer(lambda setup: _figures(Setup(**setup)))
