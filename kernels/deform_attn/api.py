"""Multi-scale deformable attention sampling, dispatched by platform.

`deformable_attention` is the sampling core of Deformable DETR (Zhu et al.,
2021, equation 3): every query reads a few bilinearly interpolated points of
every feature level and adds them up with its own weights. Projections stay
outside.

An implementation is a folder whose package has `why_not(problem)`, and
`why_not_here()` if more than the problem matters, and whose modules `forward`
and `backward` have `run`, see `xla`; `choice` picks one for each platform.
Layers, outermost first: custom VJP, vmap and sharding rules (`parallel`),
dispatch by platform inside the program (`lowering`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from sgmg_jax import platforms
from sgmg_jax.kernels.deform_attn import kernel_choice, lowering, parallel
from sgmg_jax.kernels.deform_attn import problem as problem_lib


class _Options(NamedTuple):
  """Static part of a call besides its shapes."""

  level_shapes: tuple[tuple[int, int], ...]
  implementation: tuple[str, ...] | None
  precision: Any
  interpret: bool


def deformable_attention(
  values: jax.Array,
  locations: jax.Array,
  weights: jax.Array,
  *,
  level_shapes: Sequence[tuple[int, int]],
  implementation: kernel_choice.Implementation
  | Sequence[kernel_choice.Implementation]
  | None = None,
  precision: jax.lax.PrecisionLike = None,
  interpret: bool = False,
) -> jax.Array:
  """Weighted sum of bilinear samples over all levels and points.

  Args:
    values: float[N, S, M, D], the levels one after the other, row-major, with
      S the sum of h * w over `level_shapes`.
    locations: float[N, Q, M, V, P, 2], (x, y) in units of the level's size:
      (0, 0) is the outer corner of the first pixel, (1, 1) that of the last.
      Samples outside a level read zero.
    weights: float[N, Q, M, V, P].
    level_shapes: V pairs (h, w), static.
    implementation: None for the best on the platform that the program is
      compiled for; a name, which is then used or raises; or names, of which
      the first that can run is used; see `kernel_choice.explain`.
    precision: of matrix products in Pallas TPU kernels.
    interpret: run Pallas kernels in their interpreter, on any platform.

  Returns:
    float[N, Q, M * D] in the dtype of `values`. Sums are exact float32, or
    float64 for float64.

  Raises:
    ValueError: shapes do not fit, the implementation is unknown, or it
      cannot run this problem, or not on the platform compiled for.
  """
  problem = problem_lib.make(values, locations, weights, level_shapes)
  names = kernel_choice.check_names(implementation)
  if names is not None:
    # The context that matters is that of lowering, which may be another.
    choices = kernel_choice.explain(
      problem, names, interpret=interpret, here=False
    )
    if not any(chosen.name for chosen in choices.values()):
      raise ValueError(_cannot(choices))
  options = _Options(problem.level_shapes, names, precision, interpret)
  return _jitted(values, locations, weights, options)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _attend(values, locations, weights, options):
  function = functools.partial(_forward, options)
  layout = "n s m d, n q m v p xy, n q m v p -> n q (m d)"
  run = parallel.frames_and_heads(function, layout)
  return run(values, locations, weights)


def _forward_rule(values, locations, weights, options):
  residuals = (values, locations, weights)
  return _attend(*residuals, options), residuals


def _backward_rule(options, residuals, cotangent):
  function = functools.partial(_backward, options)
  inputs = "n s m d, n q m v p xy, n q m v p"
  run = parallel.frames_and_heads(function, f"{inputs}, n q (m d) -> {inputs}")
  return run(*residuals, cotangent)


_attend.defvjp(_forward_rule, _backward_rule)
# One trace and one function in the program for all layers of the same shapes.
_jitted = jax.jit(_attend, static_argnums=3)


def _forward(options, *args):
  values, locations, _ = args
  n, _, m, d = values.shape
  out = jax.ShapeDtypeStruct((n, locations.shape[1], m * d), values.dtype)
  return _run("forward", options, [out], args)[0]


def _backward(options, *args):
  gradients = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in args[:3]]
  return tuple(_run("backward", options, gradients, args))


def _run(direction, options, results, args):
  """`forward` or `backward` of the implementation that the platform gets."""
  problem = problem_lib.make(*args[:3], options.level_shapes)
  choose = functools.partial(_choose, direction, options, problem)
  return lowering.call(choose, results, *args)


def _choose(direction, options, problem, platform):
  # Kernels of a platform that is only assumed do not compile here.
  interpret = options.interpret or platforms.assumed() is not None
  chosen = kernel_choice.choose(
    problem, platform, options.implementation, interpret=interpret
  )
  if chosen.name is None:
    raise ValueError(_cannot({platform: chosen}))
  return functools.partial(
    kernel_choice.load(chosen.name, direction).run,
    level_shapes=options.level_shapes,
    precision=options.precision,
    interpret=interpret,
  )


def _cannot(choices):
  """Message with the reason of each implementation on each platform."""
  reasons = [
    f"{name} on {platform}: {reason}"
    for platform, chosen in choices.items()
    for name, reason in chosen.skipped
  ]
  return f"deformable attention cannot run as asked; {'; '.join(reasons)}"
