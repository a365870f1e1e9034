"""Functions of rows, a few rows at a time where a cache matters.

Norms and feed-forward networks mix no tokens. On a CPU they take some tokens
after others, so that what lies between two of them, such as the hidden layer,
never reaches memory; their gradient computes it again, which would otherwise be
most of what a training keeps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sgmg_jax import platforms
from sgmg_jax.model import dropout

# Most rows that one step on a CPU takes.
_CACHED_ROWS = 2048

Function = Callable[[Any, Any, Any, bool], jax.Array]


def apply(
  function: Function, params: Any, inputs: Any, masks: Any = None
) -> jax.Array:
  """function(params, inputs, masks, in_chunk), whose rows do not mix.

  Args:
    function: equal to itself and hashed alike in every call, or its programs
      multiply. Gets inputs as float[R, C] and gives float[R, C']; `in_chunk`
      says that its gradient computes all of it again.
    params: arrays that all rows share.
    inputs: tree of float[..., C] with the same leading axes.
    masks: tree of `dropout.Mask` of R rows and of None.

  Returns:
    float[..., C'].
  """
  leading = jax.tree.leaves(inputs)[0].shape[:-1]
  inputs = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), inputs)
  args = params, inputs, masks
  if len(jax.tree.leaves(inputs)[0]) < 2 * _CACHED_ROWS:
    out = function(*args, False)
  else:
    in_chunks = functools.partial(_in_chunks, function)
    whole = functools.partial(function, in_chunk=False)
    out = platforms.dependent(*args, cpu=in_chunks, default=whole)
  return out.reshape(*leading, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _in_chunks(function, params, inputs, masks):
  step = lambda chunk: function(
    params, chunk[0], _with_rows(masks, chunk[1]), True
  )
  out = jax.lax.map(step, (_chunks(inputs), _chunks(_mask_rows(masks))))
  return _rows(out, inputs)


def _forward(function, *args):
  return _in_chunks(function, *args), args


def _backward(function, args, d_out):
  params, inputs, masks = args

  def step(sums, chunk):
    inputs, d_out, rows = chunk
    of_chunk = lambda *args: function(*args, _with_rows(masks, rows), True)
    _, backward = jax.vjp(of_chunk, params, inputs)
    d_params, d_inputs = backward(d_out)
    return jax.tree.map(jnp.add, sums, d_params), d_inputs

  sums = jax.tree.map(
    lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)),
    params,
  )
  chunks = _chunks(inputs), _chunks(d_out), _chunks(_mask_rows(masks))
  sums, d_inputs = jax.lax.scan(step, sums, chunks)
  d_params = jax.tree.map(lambda d, x: d.astype(x.dtype), sums, params)
  return d_params, _rows(d_inputs, inputs), None


_in_chunks.defvjp(_forward, _backward)


def _chunks(tree):
  """[R, ...] -> [N, R / N, ...], with zeros at the end if need be."""

  def split(x):
    fewest = -(-len(x) // _CACHED_ROWS)
    counts = (n for n in range(fewest, 2 * fewest) if len(x) % n == 0)
    count = next(counts, fewest)
    x = jnp.pad(x, [(0, -len(x) % count), *[(0, 0)] * (x.ndim - 1)])
    return x.reshape(count, -1, *x.shape[1:])

  return jax.tree.map(split, tree)


def _rows(chunks, inputs):
  count = len(jax.tree.leaves(inputs)[0])
  join = lambda x: x.reshape(-1, *x.shape[2:])[:count]
  return jax.tree.map(join, chunks)


def _is_mask(x):
  return isinstance(x, dropout.Mask)


def _mask_rows(masks):
  return jax.tree.map(lambda mask: mask.rows, masks, is_leaf=_is_mask)


def _with_rows(masks, rows):
  replace = lambda mask, rows: mask.replace(rows=rows)
  return jax.tree.map(replace, masks, rows, is_leaf=_is_mask)
