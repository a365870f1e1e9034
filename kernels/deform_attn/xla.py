"""Deformable attention in plain XLA: runs everywhere.

Gathers cost very different things on different machines, so each platform
has its own form, chosen inside the program. CPUs take frames one at a time,
which keeps one frame's values in cache; with few queries that saves nothing.
"""

from __future__ import annotations

import functools

import jax

from sgmg_jax.kernels.deform_attn import by_platform, xla_backward, xla_forward

_FEW_QUERIES = 64


def why_not(problem):
  """None: any problem runs."""
  del problem


def forward(
  values, locations, weights, *, level_shapes, precision=None, interpret=False
):
  """See `api.deformable_attention`; all arguments checked there."""
  del precision, interpret  # Products in float32; nothing to interpret.
  few = locations.shape[1] < _FEW_QUERIES
  form = functools.partial(_form, level_shapes=level_shapes)
  scan, rows = form(xla_forward.scan), form(xla_forward.rows)
  forms = {
    "cpu": jax.vmap(scan) if few else _each(scan),
    "cuda": jax.vmap(form(xla_forward.by_level)),
    "tpu": jax.vmap(rows) if few else _each(scan),
  }
  n, q, m, *_ = locations.shape
  out = jax.ShapeDtypeStruct((n, q, m * values.shape[3]), values.dtype)
  return by_platform.call(forms.get, [out], values, locations, weights)[0]


def backward(
  values,
  locations,
  weights,
  cotangent,
  *,
  level_shapes,
  precision=None,
  interpret=False,
):
  """Gradients of values, locations and weights, from [N, Q, M * D]."""
  del precision, interpret
  few = locations.shape[1] < _FEW_QUERIES
  form = functools.partial(_form, level_shapes=level_shapes)
  rows, windows = form(xla_backward.rows), form(xla_backward.windows)
  forms = {
    "cpu": jax.vmap(rows) if few else _each(windows),
    "cuda": jax.vmap(rows),
    "tpu": jax.vmap(rows) if few else _each(rows),
  }
  inputs = (values, locations, weights)
  gradients = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
  return tuple(by_platform.call(forms.get, gradients, *inputs, cotangent))


def value_gradient(values, locations, weights, cotangent, *, level_shapes):
  """The first of `backward`'s results alone, as one scatter: for GPUs."""
  form = _form(xla_backward.of_values, level_shapes)
  return jax.vmap(form)(values, locations, weights, cotangent)


def _form(function, level_shapes):
  """`function` for these levels; its name is to be read in the program."""
  module = function.__module__.rpartition(".")[2]

  @jax.named_scope(f"deform_attn_{module}_{function.__name__}")
  def run(*args):
    return function(*args, level_shapes=level_shapes)

  return run


def _each(function):
  """`function` for one frame after the other."""
  return lambda *args: jax.lax.map(lambda frame: function(*frame), args)
