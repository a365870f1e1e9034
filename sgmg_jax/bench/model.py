"""Speed and memory of the whole model on this machine, real sizes.

Each measurement runs in processes of its own: one with an empty compilation
cache, one that finds it filled; peak memory is that of the second.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import precision
from sgmg_jax.bench import fixtures, report
from sgmg_jax.checkpoints import random_weights
from sgmg_jax.model import sgmg, variants

# Floating-point operations of one sentence on 5 frames of 368 x 640, counted
# in the released model: the yardstick of efficiency, however few we need.
_GFLOP = {("video_swin_t", 5, 360, 640): 624}
_MATMUL_SIDE = 2048
_NUM_TOKENS = 16


@dataclasses.dataclass(frozen=True)
class Setup:
  """Set-up; `dtype` names the dtype of computation, `precision` the policy for
  float32 products."""

  variant: str = "video_swin_t"
  frames: int = 5
  height: int = 360
  width: int = 640
  dtype: str = "float32"
  precision: str = "highest"
  repeats: int = 5


def measure(setup: Setup) -> dict[str, Any]:
  """All figures of one set-up.

  Returns:
    "seconds" (median of a whole pass), "encode_seconds",
    "sentence_seconds" (each further one), "further_share" (that over
    "seconds"), "compile_cold_seconds", "compile_warm_seconds",
    "peak_memory_gb", "matmul_gflops" (float32, 2048 cubed, measured between
    the passes) and, where the model's operations are known, "gflops" and
    "efficiency" (the median over passes of the two divided).

  Raises:
    UserError: no such variant, or a set-up that the model cannot run.
  """
  fixtures.check(setup.variant, setup.height, setup.width)
  with tempfile.TemporaryDirectory() as cache:
    cold = _in_process(dataclasses.replace(setup, repeats=0), cache)
    figures = _in_process(setup, cache)
  figures["compile_cold_seconds"] = cold["compile_seconds"]
  figures["compile_warm_seconds"] = figures.pop("compile_seconds")
  work = figures.pop("matmul_work")
  key = (setup.variant, setup.frames, setup.height, setup.width)
  if key in _GFLOP:
    figures["gflops"] = _GFLOP[key] / figures["seconds"]
    figures["efficiency"] = _GFLOP[key] / work
  return figures


def breakdown(setup: Setup) -> dict[str, Any]:
  """Time and work of every part, see `breakdown.measure`."""
  from sgmg_jax.bench import breakdown as parts

  fixtures.check(setup.variant, setup.height, setup.width)
  return parts.measure(setup)


def _in_process(setup: Setup, cache: str) -> dict[str, Any]:
  environment = {
    "JAX_COMPILATION_CACHE_DIR": cache,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return report.in_process(__name__, dataclasses.asdict(setup), environment)


def _median_seconds(function, *args, repeats: int) -> float:
  return report.median_seconds(
    lambda: jax.block_until_ready(function(*args)), repeats
  )


def _compile_matmul(dtype: str):
  """A large matrix product, () -> its result."""
  square = jnp.ones((_MATMUL_SIDE, _MATMUL_SIDE), dtype)
  with precision.exact():
    product = jax.jit(lambda x: x @ x).lower(square).compile()
  return functools.partial(product, square)


def _measure_matmul(product, repeats: int) -> float:
  """Its GFLOP per second."""
  return 2e-9 * _MATMUL_SIDE**3 / _median_seconds(product, repeats=repeats)


def matmul_gflops(dtype: str = "float32") -> float:
  """Speed of a large matrix product."""
  return _measure_matmul(_compile_matmul(dtype), repeats=10)


def _beside_matmul(run, repeats: int) -> dict[str, float]:
  """Medians of a call and of the matrix products done between the calls.

  Cores that others use too, or that change their clock, are not as fast from
  one second to the next; so each call is compared with its neighbours.
  "matmul_work": what the products would have done in the call's time, GFLOP.
  """
  product = _compile_matmul("float32")
  rates = [_measure_matmul(product, repeats=5)]
  seconds = []
  for _ in range(repeats):
    seconds.append(_median_seconds(run, repeats=1))
    rates.append(_measure_matmul(product, repeats=5))
  beside = [(a + b) / 2 for a, b in itertools.pairwise(rates)]
  return {
    "seconds": statistics.median(seconds),
    "matmul_gflops": statistics.median(rates),
    "matmul_work": statistics.median(
      s * rate for s, rate in zip(seconds, beside, strict=True)
    ),
  }


def steps(model: sgmg.SgMg):
  """The model's passes: whole, video alone, sentence alone."""
  apply = lambda params, method, *args: model.apply(
    {"params": params}, *args, method=method
  )

  def encode(params, inputs, tokens):
    del tokens
    return apply(params, "encode_video", *inputs)

  def query(params, video, tokens):
    text = apply(params, "encode_text", tokens, jnp.ones_like(tokens, bool))
    fused = apply(params, "fuse", video, text)
    decoded = apply(params, "transform", fused, video, text)
    return apply(params, "segment", decoded, video)

  def whole(params, inputs, tokens):
    return query(params, encode(params, inputs, tokens), tokens)

  return whole, encode, query


def random_inputs(setup: Setup, **sizes: Any):
  """The model, random parameters of it, the arguments (frames, pixel_valid,
  size) of `encode_video` and tokens; `sizes` replace those of the variant."""
  model = sgmg.SgMg(
    variants.get_variant(setup.variant, **sizes),
    dtype=jnp.dtype(setup.dtype),
    precision=precision.check(setup.precision),
  )
  inputs, tokens = random_clip(setup, model.variant)
  params = jax.device_put(random_weights.make(model.variant))
  return model, params, inputs, tokens


def random_clip(setup: Setup, variant: variants.Variant):
  """The arguments (frames, pixel_valid, size) of `encode_video`, and tokens."""
  height, width = (-(-n // 16) * 16 for n in (setup.height, setup.width))
  random = np.random.RandomState(0)
  frames = random.standard_normal((1, setup.frames, height, width, 3))
  valid = np.zeros((1, height, width), bool)
  valid[:, : setup.height, : setup.width] = True
  size = np.array([[setup.height, setup.width]])
  inputs = jax.device_put((frames.astype(np.float32), valid, size))
  high = min(variant.vocab_size, 100)
  return inputs, jnp.asarray(random.randint(4, high, (1, _NUM_TOKENS)))


def _figures(setup: Setup) -> dict[str, Any]:
  """Run in a process of its own."""
  model, params, inputs, tokens = random_inputs(setup)
  whole, encode, query = steps(model)
  start = time.perf_counter()
  whole = jax.jit(whole).lower(params, inputs, tokens).compile()
  figures = {"compile_seconds": time.perf_counter() - start}
  if setup.repeats:
    run = functools.partial(_median_seconds, repeats=setup.repeats)
    jax.block_until_ready(whole(params, inputs, tokens))
    once = functools.partial(whole, params, inputs, tokens)
    figures |= _beside_matmul(once, setup.repeats)
    figures["peak_memory_gb"] = report.peak_memory_gb()
    encode, query = jax.jit(encode), jax.jit(query)
    video = jax.block_until_ready(encode(params, inputs, tokens))
    jax.block_until_ready(query(params, video, tokens))
    figures["encode_seconds"] = run(encode, params, inputs, tokens)
    figures["sentence_seconds"] = run(query, params, video, tokens)
    figures["further_share"] = figures["sentence_seconds"] / figures["seconds"]
  return figures


if __name__ == "__main__":
  report.answer(lambda setup: _figures(Setup(**setup)))
