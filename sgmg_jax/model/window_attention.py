"""Attention within windows, with a bias by relative position.

Liu et al. (2022), section 3.2. Letters besides those of `types`: N tokens of a
window, G windows of all clips, M heads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import platforms, precision
from sgmg_jax.model import layers

# Of Video Swin (frames, rows, columns); Swin has other ones.
WINDOW = (8, 7, 7)
Window = tuple[int, int, int]
# Attention scores that one step may hold on a CPU: of a whole layer, and of a
# training's attention, whose gradient holds several arrays of their size (the
# blocks of `mini` take a fifth less time than with as many as a layer).
_LAYER_SCORES_BYTES = 6 * 2**20
_TRAINING_SCORES_BYTES = 1.4 * 2**20


@functools.cache
def relative_position_index(window: Window = WINDOW) -> np.ndarray:
  """int64[N, N]: row of the position table for (query, key) of a full window,
  tokens in (d, h, w) order."""
  grid = np.meshgrid(*(np.arange(n) for n in window), indexing="ij")
  tokens = np.stack(grid).reshape(3, -1)
  delta = tokens[:, :, None] - tokens[:, None]
  d, h, w = (delta[i] + n - 1 for i, n in enumerate(window))
  return (d * (2 * window[1] - 1) + h) * (2 * window[2] - 1) + w


def table_rows(window: Window) -> int:
  """Rows of the position table: one for each difference of two tokens."""
  return math.prod(2 * n - 1 for n in window)


def window_of_table(num_rows: int) -> Window | None:
  """The window whose position table has so many rows: Video Swin's, or one of
  a frame and as many rows as columns; None: of neither."""
  if num_rows == table_rows(WINDOW):
    return WINDOW
  side = math.isqrt(num_rows)
  if side**2 != num_rows or side % 2 == 0:
    return None
  return (1, side // 2 + 1, side // 2 + 1)


# (frame, row, column) that a head starts by looking at.
_BESIDE = tuple(
  (0, y, x)
  for y, x in (
    *((0, -1), (0, 1), (-1, 0), (1, 0)),
    *((-1, -1), (1, 1), (-1, 1), (1, -1)),
  )
)
_IN_TIME = (*_BESIDE[:4], *((t, 0, 0) for t in (-1, 1, -2, 2)))


def neighbour_bias(
  key, shape, dtype=jnp.float32, *, in_time: bool, window: Window = WINDOW
):
  """First values [(2D-1)(2H-1)(2W-1), M] of a position table: every head
  looks at one neighbour of the query, like one tap of a convolution.

  For training from scratch; a pretrained backbone replaces them. With the
  usual values near 0, which attend to the whole window alike, small models
  could not distinguish textures after thousands of steps (the idea is that of
  ConViT, d'Ascoli et al., 2021). With `in_time` the fifth to eighth head
  look at other frames instead of the diagonal neighbours.
  """
  grid = np.meshgrid(*(np.arange(1 - n, n) for n in window), indexing="ij")
  delta = np.stack(grid, -1).reshape(-1, 1, 3)
  neighbours = _IN_TIME if in_time else _BESIDE
  taps = np.array([neighbours[m % 8] for m in range(shape[1])])
  bias = np.maximum(-1.5 * np.sum((delta - taps) ** 2, -1), -12.0)
  # Heads that look at the same neighbour must differ.
  noise = 0.1 * jax.random.normal(key, shape, dtype)
  return jnp.asarray(bias, dtype) + noise


def _weights(q, k, bias, region, key_valid):
  """float[G, M, N, N] and its row sums, which it is to be divided by; in at
  least float32."""
  scores = q * q.shape[-1] ** -0.5 @ k.swapaxes(-1, -2)
  scores = precision.at_least_float32(scores) + bias
  if region is not None:
    apart = region[..., None, :, None] != region[..., None, None, :]
    scores = scores - 100.0 * apart
  if key_valid is not None:
    scores = jnp.where(key_valid, scores, -jnp.inf)
  # The softmax does not depend on what is taken off.
  top = jax.lax.stop_gradient(jnp.max(scores, -1, keepdims=True))
  scores = jnp.exp(scores - top)
  return scores, jnp.sum(scores, -1, keepdims=True)


def _attend(q, k, v, bias, region, key_valid):
  """float[G, M, N, C / M] of q, k, v alike; the others as of
  `window_attention`, but the region of all G windows."""
  weights, total = _weights(q, k, bias, region, key_valid)
  return weights.astype(v.dtype) @ v / total.astype(v.dtype)


@jax.custom_vjp
def _attend_in_turn(q, k, v, bias, region, key_valid):
  """`_attend` to a few windows after another, whose scores stay in cache.

  The gradient computes them again, as the scores of every window would not
  even fit the memory of long clips, and adds up the bias's on the way, which
  takes a third of the time of what JAX derives.
  """
  windows = _windows_at_a_time(q, bias, _TRAINING_SCORES_BYTES)
  step = lambda args: _attend(*args[:3], bias, args[3], key_valid)
  return _join(jax.lax.map(step, _split((q, k, v, region), windows)))


def _in_turn_forward(q, k, v, bias, region, key_valid):
  out = _attend_in_turn(q, k, v, bias, region, key_valid)
  return out, (q, k, v, bias, region, key_valid, out)


def _in_turn_backward(residuals, d_out):
  q, k, v, bias, region, key_valid, out = residuals
  windows = _windows_at_a_time(q, bias, _TRAINING_SCORES_BYTES)
  scale = q.shape[-1] ** -0.5

  def step(d_bias, args):
    q, k, v, region, out, d_out = args
    weights, total = _weights(q, k, bias, region, key_valid)
    weights = weights / total
    d_v = weights.swapaxes(-1, -2).astype(v.dtype) @ d_out
    d_weights = precision.at_least_float32(d_out @ v.swapaxes(-1, -2))
    along = precision.at_least_float32(d_out * out).sum(-1, keepdims=True)
    d_scores = weights * (d_weights - along)
    # One by one: XLA:CPU takes five times as long for the sum over an axis.
    for i in range(windows):
      d_bias = d_bias + d_scores[i]
    d_scores = d_scores.astype(q.dtype)
    d_q = d_scores @ k * scale
    d_k = d_scores.swapaxes(-1, -2) @ (q * scale)
    return d_bias, (d_q, d_k, d_v)

  args = _split((q, k, v, region, out, d_out), windows)
  d_bias, grads = jax.lax.scan(step, jnp.zeros_like(bias), args)
  return (*map(_join, grads), d_bias, None, None)


_attend_in_turn.defvjp(_in_turn_forward, _in_turn_backward)


def _windows_at_a_time(q, bias, scores_bytes) -> int:
  """Number of windows at a time; a divisor of their total number."""
  most = max(1, int(scores_bytes / (4 * bias.size)))
  return max(n for n in range(1, most + 1) if q.shape[0] % n == 0)


def _split(arrays, windows):
  return jax.tree.map(lambda x: x.reshape(-1, windows, *x.shape[1:]), arrays)


def _join(x):
  return x.reshape(-1, *x.shape[2:])


def _layer(attend, x, qkv, proj, bias, region, key_valid):
  heads = bias.shape[0]
  # Heads before tokens: XLA:CPU takes twice as long for products whose batch
  # dimension lies between theirs.
  split = lambda y: y.reshape(*y.shape[:2], heads, -1).swapaxes(1, 2)
  parts = jnp.split(layers.matmul(x, qkv[0]) + qkv[1], 3, -1)
  out = attend(*map(split, parts), bias, region, key_valid)
  out = out.swapaxes(1, 2).reshape(x.shape)
  return layers.matmul(out, proj[0]) + proj[1]


@jax.custom_vjp
def _layer_in_turn(x, qkv, proj, bias, region, key_valid):
  """`_layer` of a few windows after another: what their projections give stays
  in cache, too. For training only the attention itself does."""
  step = lambda args: _layer(
    _attend, args[0], qkv, proj, bias, args[1], key_valid
  )
  windows = _windows_at_a_time(x, bias, _LAYER_SCORES_BYTES)
  return _join(jax.lax.map(step, _split((x, region), windows)))


def _layer_forward(x, qkv, proj, bias, region, key_valid):
  layer = lambda *args: _layer(_attend_in_turn, *args, region, key_valid)
  return jax.vjp(layer, x, qkv, proj, bias)


_layer_in_turn.defvjp(
  _layer_forward, lambda backward, d_out: (*backward(d_out), None, None)
)


def window_attention(x, region, key_valid, qkv, proj, bias):
  """Multi-head self-attention within each window.

  Args:
    x: float[G, N, C], G windows of all clips.
    region: int[G', N] with G' a divisor of G, or None: 100 is taken off the
      score of tokens in different regions.
    key_valid: bool[N] or None: keys that may be attended to.
    qkv: (kernel [C, 3C], bias [3C]), output order q, k, v, then heads.
    proj: (kernel [C, C], bias [C]).
    bias: float[M, N, N], at least float32, relative position bias.

  Returns:
    float[G, N, C].
  """
  if region is not None:
    region = jnp.asarray(region)
    region = jnp.tile(region, (x.shape[0] // region.shape[0], 1))
  return platforms.dependent(
    *(x, qkv, proj, bias, region, key_valid),
    cpu=_layer_in_turn,
    default=functools.partial(_layer, _attend),
  )


class WindowAttention(nn.Module):
  """Parameters of `window_attention`; `window` is the full one."""

  num_heads: int
  in_time: bool = False
  window: Window = WINDOW
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, region, key_valid):
    n, c = x.shape[-2:]
    table = self.param(
      "relative_position_bias_table",
      functools.partial(
        neighbour_bias, in_time=self.in_time, window=self.window
      ),
      (table_rows(self.window), self.num_heads),
      self.param_dtype,
    )
    # For a clipped window this is the top-left block of the full window's
    # index, which the released weights rely on.
    index = relative_position_index(self.window)[:n, :n]
    bias = precision.at_least_float32(table)[index].transpose(2, 0, 1)
    affine = functools.partial(
      layers.Affine,
      c,
      kernel_init=layers.xavier_uniform,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
    qkv, proj = affine(3 * c, name="qkv")(), affine(c, name="proj")()
    return window_attention(x, region, key_valid, qkv, proj, bias)
