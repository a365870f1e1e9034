"""Speed of deformable attention, every implementation that runs here.

The shapes are those of the model's encoder and decoder. PyTorch's form of the
same thing is the yardstick where PyTorch is installed: it runs on the same
device in the same process, and in turn with the others, so that all of them
meet the same machine.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import statistics
import time
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sgmg_jax.bench import grid_sample, report
from sgmg_jax.inference import preprocess
from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import arg_specs, kernel_choice
from sgmg_jax.kernels.deform_attn import problem as problem_lib
from sgmg_jax.model import variants

# Typical distances from a reference point: the ring of the initial weights,
# and what training adds to it, in pixels of the level.
_NOISE_PIXELS = 2.0
# Idle threads of one thread pool spin for a while; the next call, which may
# use another pool, must not pay for that.
_PAUSE_SECONDS = 0.02
# On an accelerator, calls queued up before waiting for the last one: starting
# one takes the host about as long as the device takes to run it.
_QUEUED = 20
_PASSES = ("forward", "forward+backward")


@dataclasses.dataclass(frozen=True)
class Setup:
  """Set-up: the attention of `variant` on a clip; `dtype` is that of
  values and output."""

  variant: str = "video_swin_t"
  frames: int = 5
  height: int = 360
  width: int = 640
  dtype: str = "float32"
  repeats: int = 10


def measure(setup: Setup) -> dict[str, Any]:
  """Per pass, a table with a row per form.

  Returns:
    {"encoder forward" | "encoder forward+backward" | "decoder …": {form:
    {"median_ms", "min_ms", "speedup" (the yardstick's median over its own),
    "error" (largest difference from the yardstick, as a share of its largest
    value), "compile_seconds", "temp_mib" (memory of intermediate results),
    "chosen" (whether it is what `implementation=None` gets here)}}}. The
    yardstick is the first form: PyTorch's, or plain XLA without PyTorch.

  Raises:
    UserError: no such variant.
  """
  problems(setup)
  # Compilation is measured, too, and must not find its results in a cache.
  environment = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    # Others, PyTorch for one, need memory of the same device.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
  }
  argument = dataclasses.asdict(setup)
  return report.in_process(__name__, argument, environment)


def explain(setup: Setup) -> dict[str, Any]:
  """Choice on each platform, and contents of this machine's programs.

  Returns:
    {"encoder" | "decoder": {platform: {"chosen", "skipped"}}, "compiled here":
    {pass: {"form" (named scopes of this package), "custom_calls"}}}.

  Raises:
    UserError: no such variant.
  """
  figures, compiled = {}, {}
  for name, problem in problems(setup).items():
    # Of other platforms, what their machines choose: what this one lacks does
    # not matter there.
    choices = kernel_choice.explain(problem, here=False)
    choices[_platform()] = kernel_choice.explain(problem)[_platform()]
    figures[name] = {
      platform: {
        "chosen": chosen.name,
        "skipped": "; ".join(f"{k}: {why}" for k, why in chosen.skipped),
      }
      for platform, chosen in choices.items()
    }
    for direction in _PASSES:
      text = _lower(problem, None, direction).compile().as_text()
      scopes = set(re.findall(r"deform_attn_\w+", text))
      calls = collections.Counter(
        re.findall(r'custom_call_target="([^"]+)"', text)
      )
      compiled[f"{name} {direction}"] = {
        "form": ", ".join(sorted(scopes)),
        "custom_calls": ", ".join(f"{n} {k}" for k, n in calls.items())
        or "none",
      }
  return figures | {"compiled here": compiled}


def problems(setup: Setup) -> dict[str, problem_lib.Problem]:
  """The attention of the encoder (a query per pixel) and of the decoder.

  Raises:
    UserError: no such variant.
  """
  variant = variants.get_variant(setup.variant)
  pad = preprocess.PAD_MULTIPLE
  encoder = arg_specs.encoder(
    *(-(-side // pad) * pad for side in (setup.height, setup.width)),
    frames=setup.frames,
    heads=variant.num_heads,
    channels=variant.width // variant.num_heads,
    points=variant.num_points,
    dtype=setup.dtype,
  )
  decoder = arg_specs.decoder(encoder, variant.num_queries)
  return {"encoder": encoder, "decoder": decoder}


def inputs(problem: problem_lib.Problem) -> tuple[np.ndarray, ...]:
  """Values, locations, weights and cotangent like a trained model's.

  Locations lie around the queries' reference points, on the ring where
  Deformable DETR's initial weights put them, with noise; some fall outside.
  """
  n, q, m, d, p = problem[:5]
  v = problem.levels
  random = np.random.default_rng(0)
  if q == problem.size:
    centres = [
      (np.stack(np.mgrid[:h, :w][::-1], -1).reshape(-1, 2) + 0.5) / (w, h)
      for h, w in problem.level_shapes
    ]
    references = np.concatenate(centres)
  else:
    references = random.uniform(0, 1, (q, 2))
  angle = 2 * np.pi * np.arange(m) / m
  ring = np.stack([np.cos(angle), np.sin(angle)], -1)
  ring /= np.abs(ring).max(-1, keepdims=True)
  # [M, 1, P, 2] pixels of every level
  ring = ring[:, None, None] * np.arange(1, p + 1)[:, None]
  noise = random.standard_normal((n, q, m, v, p, 2)) * _NOISE_PIXELS
  sizes = np.array(problem.level_shapes)[:, None, ::-1]
  locations = references[:, None, None, None] + (ring + noise) / sizes
  weights = random.exponential(1, (n, q, m, v, p))
  weights /= weights.sum((-2, -1), keepdims=True)
  return tuple(
    x.astype(np.float32)
    for x in (
      random.standard_normal((n, problem.size, m, d)),
      locations,
      weights,
      random.standard_normal((n, q, m * d)),
    )
  )


def _figures(setup: Setup) -> dict[str, Any]:
  """Run in a process of its own."""
  figures = {}
  for name, problem in problems(setup).items():
    arrays = inputs(problem)
    theirs = {}
    if grid_sample.installed():
      label, *both = grid_sample.calls(
        *arrays, problem.level_shapes, setup.dtype, _queued()
      )
      theirs = {key: {label: call} for key, call in zip(_PASSES, both)}
    for direction in _PASSES:
      calls = dict(theirs.get(direction, {}))
      facts = {}
      for form in _forms(problem):
        calls[form], facts[form] = _prepare(problem, form, direction, arrays)
      figures[f"{name} {direction}"] = _rows(calls, facts, setup.repeats)
  return figures


def _forms(problem: problem_lib.Problem) -> list[str]:
  """Implementations that run a problem here, the one for everywhere first."""
  return [
    name
    for name in typing.get_args(kernel_choice.Implementation)
    if kernel_choice.explain(problem, name)[_platform()].name
  ]


def _platform() -> str:
  """Name of this machine's platform in `kernel_choice.explain`."""
  platform = jax.devices()[0].platform
  known = {"gpu": "cuda", "tpu": "tpu"}
  return known.get(platform, "cpu")


def _queued() -> int:
  """Calls in a row that are timed as one."""
  return 1 if _platform() == "cpu" else _QUEUED


def _lower(problem, implementation, direction):
  """The lowered program of one pass, from shapes alone."""
  attend = functools.partial(
    deform_attn.deformable_attention,
    level_shapes=problem.level_shapes,
    implementation=implementation,
  )

  def gradient(values, locations, weights, cotangent):
    out, pull_back = jax.vjp(attend, values, locations, weights)
    return out, *pull_back(cotangent)

  arguments = arg_specs.arguments(problem)
  if direction == "forward":
    return jax.jit(attend).lower(*arguments[:3])
  return jax.jit(gradient).lower(*arguments)


def _prepare(problem, form, direction, arrays):
  """Call to time of one of our forms, and facts of its compilation."""
  values, locations, weights, cotangent = arrays
  args = [values.astype(problem.dtype), locations, weights]
  if direction != "forward":
    args.append(cotangent.astype(problem.dtype))
  lowered = _lower(problem, form, direction)
  start = time.perf_counter()
  compiled = lowered.compile()
  facts = {"compile_seconds": time.perf_counter() - start}
  if memory := compiled.memory_analysis():
    facts["temp_mib"] = memory.temp_size_in_bytes / 2**20
  chosen = kernel_choice.explain(problem)[_platform()].name
  facts["chosen"] = "yes" if form == chosen else ""
  args = jax.device_put(args)

  def call():
    for _ in range(_queued()):
      results = compiled(*args)
    return jax.block_until_ready(results)

  return call, facts


def _rows(
  calls: Mapping[str, Callable[[], Any]],
  facts: Mapping[str, Mapping[str, Any]],
  repeats: int,
) -> dict[str, dict[str, Any]]:
  """Time all calls in turn."""
  results = {name: call() for name, call in calls.items()}
  times = {name: [] for name in calls}
  for _ in range(repeats):
    for name, call in calls.items():
      time.sleep(_PAUSE_SECONDS)
      times[name].append(1000 * report.seconds(call) / _queued())
  medians = {name: statistics.median(t) for name, t in times.items()}
  first = next(iter(calls))
  return {
    name: {
      "median_ms": medians[name],
      "min_ms": min(times[name]),
      "speedup": medians[first] / medians[name],
      "error": _difference(results[name], results[first]),
      **facts.get(name, {}),
    }
    for name in calls
  }


def _difference(ours: Any, theirs: Any) -> float:
  """Largest difference of any array as a share of its largest value."""
  shares = []
  for x, y in zip(_arrays(ours), _arrays(theirs), strict=True):
    shares.append(np.abs(x - y).max() / np.abs(y).max())
  return float(max(shares))


def _arrays(results: Any) -> list[np.ndarray]:
  """Arrays of either library, in float32."""
  results = results if isinstance(results, tuple | list) else [results]
  return [
    np.asarray(x.float().cpu() if hasattr(x, "cpu") else x, np.float32)
    for x in results
  ]


if __name__ == "__main__":
  report.answer(lambda setup: _figures(Setup(**setup)))
