"""Time and work of each part of the model, against the machine's speed.

Every part is compiled alone and runs on what the parts before it returned.
The whole model takes less than their sum where XLA fuses across parts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sgmg_jax import precision, types
from sgmg_jax.bench import model, report
from sgmg_jax.losses import criterion
from sgmg_jax.model import sgmg, video_swin
from sgmg_jax.training import forward, operations


def measure(setup: model.Setup) -> dict[str, Any]:
  """The table of all parts.

  Returns:
    "matmul_gflops" per second of this machine, "seconds" and "gflop" of all
    parts, and "parts": {part: {"ms" (median), "share" (of all parts), "gflop"
    (of matrix products and convolutions), "efficiency" (the time these take
    at the machine's rate, over "ms"), "lost_ms" (the rest of "ms"), "temp_mib"
    (temporary memory), "compile_seconds"}}.
  """
  net, params, inputs, tokens = model.random_inputs(setup)
  parts = _Parts(setup)
  _run_model(net, params, inputs, tokens, parts)
  return parts.table()


def measure_training(
  setup: Any,
  net: sgmg.SgMg,
  tx: optax.GradientTransformation,
  params: types.Params,
  batch: types.Batch,
) -> dict[str, Any]:
  """The table of all parts of a training step with a frozen text encoder.

  Args:
    batch: one clip with one sentence.

  Returns:
    As `measure`, with "forward_ms" and "backward_ms" of each part beside
    "ms", their sum; "temp_mib" includes what the backward pass needs of the
    forward pass. What changes parameters has no backward pass.
  """
  parts = _Parts(setup, backward=True)
  inputs = (batch.frames, batch.pixel_valid, batch.size)
  _run_model(net, params, inputs, batch.tokens, parts, batch.targets)
  _run_optimizer(tx, params, parts)
  return parts.table()


class _Parts:
  """Runs parts and keeps a row of figures for each."""

  def __init__(self, setup: Any, backward: bool = False):
    self.repeats = setup.repeats
    self.policy = precision.check(setup.precision)
    self.backward = backward
    self.rows: dict[str, dict[str, float]] = {}
    self.flops_per_second = 1e9 * model.matmul_gflops(setup.dtype)

  def run(self, name: str, function: Callable[..., Any], *args, frozen=False):
    """Measure function(*args) and return its result.

    Args:
      *args: trees of arrays; gradients are of those that are floating point.
      frozen: whether training has no backward pass of it.
    """
    function = precision.follow(self.policy, function)
    result, row = self._measure(function, *args)
    if self.backward:
      forward = row["ms"]
      if not frozen:
        both, cotangents = _with_backward(function, args, result)
        _, row = self._measure(both, args, cotangents)
      backward = row["ms"] - forward
      row = {"forward_ms": forward, "backward_ms": backward, **row}
    self.rows[name] = row
    return result

  def _measure(self, function, *args):
    lowered = jax.jit(function).lower(*args)
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start
    result = jax.block_until_ready(compiled(*args))
    seconds = report.median_seconds(
      lambda: jax.block_until_ready(compiled(*args)), self.repeats
    )
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    flops = operations.count_flops(jaxpr)
    ideal = flops / self.flops_per_second
    return result, {
      "ms": 1e3 * seconds,
      "share": 0.0,
      "gflop": flops / 1e9,
      "efficiency": ideal / seconds,
      "lost_ms": 1e3 * (seconds - ideal),
      "temp_mib": compiled.memory_analysis().temp_size_in_bytes / 2**20,
      "compile_seconds": compile_seconds,
    }

  def table(self) -> dict[str, Any]:
    """See `measure`."""
    total = sum(row["ms"] for row in self.rows.values())
    for row in self.rows.values():
      row["share"] = row["ms"] / total
    return {
      "matmul_gflops": self.flops_per_second / 1e9,
      "seconds": total / 1e3,
      "gflop": sum(row["gflop"] for row in self.rows.values()),
      "parts": self.rows,
    }


def _with_backward(function, args, result):
  """The forward and the backward pass of a function as one, and cotangents.

  Returns:
    (args, cotangents) -> gradients of the floating-point leaves of `args`.
  """
  leaves, tree = jax.tree.flatten(args)
  trained = [i for i, x in enumerate(leaves) if _floating(x)]

  def of_trained(values, leaves):
    leaves = list(leaves)
    for i, value in zip(trained, values, strict=True):
      leaves[i] = value
    outputs = jax.tree.leaves(function(*tree.unflatten(leaves)))
    return [y for y in outputs if _floating(y)]

  def both(args, cotangents):
    leaves = jax.tree.leaves(args)
    values = [leaves[i] for i in trained]
    outputs, backward = jax.vjp(lambda v: of_trained(v, leaves), values)
    # What a step does with the outputs keeps them from being left out.
    return outputs, backward(cotangents)

  return both, [y for y in jax.tree.leaves(result) if _floating(y)]


def _floating(x) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)


def _run_model(net, params, inputs, tokens, parts: _Parts, targets=None):
  """Run all parts up to a query's masks or, with targets, the losses."""
  frames, valid, size = inputs
  train = targets is not None
  rngs = None
  if train:
    rngs = {name: jax.random.key(0) for name in ("dropout", "drop_path")}

  def alone(name, module, params, *args, **kwargs):
    apply = lambda params, *args: module.apply(
      {"params": params}, *args, rngs=rngs, **kwargs
    )
    return parts.run(name, apply, params, *args)

  def method(name, modules, function, *args, frozen=False, **kwargs):
    # The gradients of other modules' parameters are zero, but not for free.
    used = {k: v for k, v in params.items() if re.match(modules, k)}
    apply = lambda params, *args: net.apply(
      {"params": params}, *args, method=function, rngs=rngs, **kwargs
    )
    return parts.run(name, apply, used, *args, frozen=frozen)

  if net.variant.backbone == "video_swin":
    stages = _video_swin(net, params, frames, alone, train)
  else:
    stages = method(
      "backbone",
      "backbone_0",
      lambda net, frames: net.backbone_0(frames, train=train),
      frames.astype(net.dtype),
    )
  video = method(
    "projection, spectrum",
    "input_proj|input_fft_[0-9]",
    lambda net, *args: net.project(*args, frames.shape[1]),
    tuple(stages),
    valid,
    size,
  )
  words = jnp.ones_like(tokens, bool)
  text = method(
    "text",
    "text_encoder|text_proj|sentence_proj",
    "encode_text",
    *(tokens, words),
    frozen=True,
  )
  fused = method(
    "fusion, spectrum", "fusion_module|input_fft_post", "fuse", video, text
  )
  memory = method(
    "encoder", "transformer", "encode_maps", fused, video, train=train
  )
  if net.variant.decouple:
    memory = method("decoupling", "decouple_module", "decouple", memory, text)
  heads = "transformer|.*_embed|pixel_decoder|decouple_module"
  decoded = method("decoder", heads, "decode", memory, video, text, train=train)
  if train:
    patches = method(
      "patch kernels", "controller", "patch_masks_of_layers", decoded, video
    )
    chosen = patches[:, :, :, 0]
  else:
    query = jnp.zeros(len(tokens), jnp.int32)
    chosen = method(
      "patch kernels",
      "controller",
      lambda net, *args: net.patch_masks(*args[:2], query=args[2])[:, :, 0],
      *(decoded, video, query),
    )
  masks = method("optimiser", "mask_refine", "refine", chosen, video)
  if train:

    def losses(decoded, patches, masks):
      layers = forward.match_layers(decoded, patches, targets, lambda _: masks)
      return criterion.total(forward.layer_losses(layers, targets)).value

    parts.run("matching, losses", losses, decoded, patches, masks)


def _run_optimizer(tx, params, parts: _Parts):
  def update(params, grads, state):
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  parts.run(
    "optimizer", update, params, params, jax.jit(tx.init)(params), frozen=True
  )


def _video_swin(net, params, frames, alone, train):
  """The maps of all stages, each measured by `alone`."""
  dtypes = dict(dtype=net.dtype, param_dtype=net.param_dtype)
  body = params["backbone_0"]["body"]
  x = alone(
    "patch embedding",
    video_swin.PatchEmbed(net.variant.embed_dim, **dtypes),
    body["patch_embed"],
    frames.astype(net.dtype),
  )
  stages = []
  sizes = zip(net.variant.depths, net.variant.swin_heads, strict=True)
  for i, (depth, heads) in enumerate(sizes):
    if i:
      merging = video_swin.PatchMerging(**dtypes)
      x = alone(f"merging {i}", merging, body[f"downsamples_{i - 1}"], x)
    rate = net.variant.drop_path if train else 0.0
    blocks = video_swin.BlockStack(
      heads, (rate,) * depth, remat=net.remat, **dtypes
    )
    name = f"stage {i + 1}"
    x = alone(name, blocks, body[f"layers_{i}"], x, None, train=train)
    stages.append(x)
  return stages
