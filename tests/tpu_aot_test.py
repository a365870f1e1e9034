"""The whole model and its training step compile for TPUs, ahead of time, on
the CPU, and fit."""

import re

import jax
import jax.numpy as jnp
import pytest

from sgmg_jax.bench import model, training
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.model import multi_instance, sgmg, variants
from sgmg_jax.training import tpu_topology

pytestmark = [pytest.mark.tpu_aot, pytest.mark.slow]

# The compiler's least effort: a tenth of the time, and programs that need
# half as much memory again. What fits so fits.
QUICKLY = {"exec_time_optimization_effort": -1.0}
CHIP_BYTES = 16e9


def kernels(compiled):
  """{kernel: how often the program calls it}."""
  calls = [
    line
    for line in compiled.as_text().splitlines()
    if "tpu_custom_call" in line
  ]
  names = [
    name
    for line in calls
    for name in set(re.findall(r"deform_attn_pallas_tpu_[a-z]+", line))
  ]
  return {name: names.count(name) for name in names}


def test_every_step_of_the_tiny_model():
  net = sgmg.SgMg(variants.get_variant("video_swin_t"), dtype=jnp.bfloat16)
  shape = jax.ShapeDtypeStruct
  params = jax.eval_shape(lambda: sgmg.init_params(net, jax.random.key(0)))
  frames = shape((1, 5, 368, 640, 3), jnp.float32)
  inputs = (frames, shape((1, 368, 640), bool), shape((1, 2), jnp.int32))
  args = (params, inputs, shape((1, 16), jnp.int32))
  whole, _, _ = model.steps(net)
  lowered = jax.jit(whole).lower(*tpu_topology.place(args, "v5e"))
  compiled = lowered.compile(compiler_options=QUICKLY)
  assert training.program_bytes(compiled) < CHIP_BYTES / 8
  # One for each encoder layer; the decoder has too few queries to gain.
  assert kernels(compiled) == {"deform_attn_pallas_tpu_forward": 4}


def test_what_fast_sgmg_does_otherwise_with_eight_sentences():
  """Fusion without its spectra, and what follows the encoder."""
  variant = variants.get_variant("video_swin_t", decouple="features")
  net = sgmg.SgMg(variant, dtype=jnp.bfloat16)
  params = expected_shapes.model(variant)
  apply = lambda params, method, *args: net.apply(
    {"params": params}, *args, method=method
  )
  shape = jax.ShapeDtypeStruct
  frames = shape((1, 5, 368, 640, 3), jnp.float32)
  inputs = frames, shape((1, 368, 640), bool), shape((1, 2), jnp.int32)
  words = shape((8, 16), jnp.int32), shape((8, 16), bool)
  video = jax.eval_shape(
    lambda params, *args: apply(params, "encode_video", *args), params, *inputs
  )
  text = jax.eval_shape(
    lambda params, *args: apply(params, "encode_text", *args), params, *words
  )

  def own(module, video, text):
    fused = [
      multi_instance.fuse(module.fusion_module, x, text, variant.fusion_scale)
      for x in video.levels
    ]
    memory = module.decouple(video.levels, text)
    return fused, module.segment(module.decode(memory, video, text), video)

  run = jax.jit(lambda params, *args: apply(params, own, *args))
  lowered = run.lower(*tpu_topology.place((params, video, text), "v5e"))
  compiled = lowered.compile(compiler_options=QUICKLY)
  assert training.program_bytes(compiled) < CHIP_BYTES / 8


def test_training_step_of_the_tiny_model_on_sixteen_chips():
  """Largest frames of configs/refer_ytvos.py, a clip per chip, in float32,
  which needs more than bfloat16."""
  setup = training.Setup("video_swin_t", frames=5, height=512, width=640)
  mesh = tpu_topology.mesh("v5e", 16, "4x4")
  step, state, batch = training.program(setup, mesh)
  compiled = step.lower(state, batch).compile(compiler_options=QUICKLY)
  used = training.program_bytes(compiled)
  assert used < CHIP_BYTES, f"{used / 1e9:.1f} GB"
  # Every result has the memory of the state that came in, but the metrics.
  memory = compiled.memory_analysis()
  kept = memory.output_size_in_bytes - memory.alias_size_in_bytes
  assert kept < 1e5
  assert kernels(compiled) == {
    "deform_attn_pallas_tpu_forward": 4,
    "deform_attn_pallas_tpu_backward": 4,
  }
  # Gradients are summed; neither frames nor features travel.
  program = compiled.as_text()
  assert re.search(r" all-reduce(-start)?\(", program)
  assert not re.search(r" (all-gather|all-to-all)(-start)?\(", program)
