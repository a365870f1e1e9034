"""Time and work of each part of the model, against the machine's speed.

Every part is compiled alone and runs on what the parts before it returned.
The whole model takes less than their sum where XLA fuses across parts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from sgmg_jax import precision
from sgmg_jax.bench import model, report
from sgmg_jax.model import video_swin


def measure(setup: model.Setup) -> dict[str, Any]:
  """The table of all parts.

  Returns:
    "matmul_gflops" per second of this machine, "seconds" and "gflop" of all
    parts, and "parts": {part: {"ms" (median), "share" (of all parts), "gflop"
    (of matrix products and convolutions), "efficiency" (the time these take
    at the machine's rate, over "ms"), "lost_ms" (the rest of "ms"), "temp_mib"
    (temporary memory), "compile_seconds"}}.
  """
  parts = _Parts(setup)
  _run_all(setup, parts)
  total = sum(row["ms"] for row in parts.rows.values())
  for row in parts.rows.values():
    row["share"] = row["ms"] / total
  return {
    "matmul_gflops": parts.flops_per_second / 1e9,
    "seconds": total / 1e3,
    "gflop": sum(row["gflop"] for row in parts.rows.values()),
    "parts": parts.rows,
  }


class _Parts:
  """Runs parts and keeps a row of figures for each."""

  def __init__(self, setup: model.Setup):
    self.repeats = setup.repeats
    self.policy = precision.check(setup.precision)
    self.rows: dict[str, dict[str, float]] = {}
    self.flops_per_second = 1e9 * model.matmul_gflops(setup.dtype)

  def run(self, name: str, function: Callable[..., Any], *args):
    """Measure function(*args) and return its result."""
    function = precision.follow(self.policy, function)
    lowered = jax.jit(function).lower(*args)
    start = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start
    result = jax.block_until_ready(compiled(*args))
    seconds = report.median_seconds(
      lambda: jax.block_until_ready(compiled(*args)), self.repeats
    )
    flops = count_flops(jax.make_jaxpr(function)(*args).jaxpr)
    ideal = flops / self.flops_per_second
    self.rows[name] = {
      "ms": 1e3 * seconds,
      "share": 0.0,
      "gflop": flops / 1e9,
      "efficiency": ideal / seconds,
      "lost_ms": 1e3 * (seconds - ideal),
      "temp_mib": compiled.memory_analysis().temp_size_in_bytes / 2**20,
      "compile_seconds": compile_seconds,
    }
    return result


def _run_all(setup: model.Setup, parts: _Parts) -> None:
  net, params, (frames, valid, size), tokens = model.random_inputs(setup)
  dtypes = dict(dtype=net.dtype, param_dtype=net.param_dtype)

  def alone(name, module, params, *args):
    apply = lambda params, *args: module.apply({"params": params}, *args)
    return parts.run(name, apply, params, *args)

  def method(name, function, *args):
    apply = lambda params, *args: net.apply(
      {"params": params}, *args, method=function
    )
    return parts.run(name, apply, params, *args)

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
    blocks = video_swin.BlockStack(heads, (0.0,) * depth, **dtypes)
    x = alone(f"stage {i + 1}", blocks, body[f"layers_{i}"], x, None)
    stages.append(x)
  video = method(
    "projection, spectrum",
    lambda net, *args: net.project(*args, setup.frames),
    tuple(stages),
    valid,
    size,
  )
  text = method("text", "encode_text", tokens, jnp.ones_like(tokens, bool))
  fused = method("fusion, spectrum", "fuse", video, text)
  memory = method("encoder", "encode_maps", fused, video)
  decoded = method("decoder", "decode", memory, video, text)
  query = jnp.zeros(len(tokens), jnp.int32)
  patches = method(
    "patch kernels",
    lambda net, *args: net.patch_masks(*args[:2], query=args[2])[:, :, 0],
    decoded,
    video,
    query,
  )
  method("optimiser", "refine", patches, video)


def count_flops(jaxpr) -> int:
  """Floating-point operations of matrix products and convolutions.

  Loops count as often as they run, unlike in XLA's own analysis; of the
  branches of a condition, which are one per platform here, the one with the
  fewest operations counts. Elementwise work and gathers count nothing.
  """
  total = 0
  for equation in jaxpr.eqns:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      left = equation.invars[0].aval.shape
      terms = math.prod(left[axis] for axis in contracted)
      total += 2 * terms * equation.outvars[0].aval.size
    elif name == "conv_general_dilated":
      kernel = equation.invars[1].aval
      features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
      total += 2 * kernel.size // features * equation.outvars[0].aval.size
    elif name == "cond":
      total += min(count_flops(b) for b in _jaxprs(params["branches"]))
    elif name != "pallas_call":
      inner = sum(count_flops(j) for j in _jaxprs(params.values()))
      total += inner * (params["length"] if name == "scan" else 1)
  return total


def _jaxprs(values) -> Iterator[Any]:
  for value in values:
    value = getattr(value, "jaxpr", value)
    if hasattr(value, "eqns"):
      yield value
    elif isinstance(value, tuple | list):
      yield from _jaxprs(value)
