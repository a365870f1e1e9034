"""Video Swin transformer (Liu et al., 2022), SgMg section 3, appendix A.

Stage outputs are the raw block outputs before patch merging, with no norm.
Letters besides those of `types`: D temporal size, N tokens of a window,
G windows of a clip.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax.model import layers, rowwise, window_attention
from sgmg_jax.model import remat as remat_lib
from sgmg_jax.model.window_attention import WINDOW, Window

_PATCH = 4
_gelu = functools.partial(nn.gelu, approximate=False)


def window_and_shift(size: tuple[int, ...], full: Window = WINDOW):
  """Window and shift per dimension for a map of `size` (D, H, W): where the
  map fits into the full window, the window shrinks and does not shift."""
  window = tuple(min(n, w) for n, w in zip(size, full))
  shift = tuple(0 if n <= w else w // 2 for n, w in zip(size, full))
  return window, shift


def _region_ids(padded, window, shift) -> np.ndarray:
  """int32[G, N]: tokens attend to each other only within a region, once the
  map has been rolled by minus the shift."""
  ids = np.zeros(padded, np.int32)
  for axis, (n, w, s) in enumerate(zip(padded, window, shift)):
    if s:
      line = np.zeros(n, np.int32)
      line[n - w : n - s] = 1
      line[n - s :] = 2
      ids = ids * 3 + line.reshape([-1 if a == axis else 1 for a in range(3)])
  return _to_windows(ids[None, ..., None], window)[..., 0]


def _to_windows(x, window):
  """[B, D, H, W, C] -> [B * G, N, C]."""
  b, d, h, w, c = x.shape
  wd, wh, ww = window
  x = x.reshape(b, d // wd, wd, h // wh, wh, w // ww, ww, c)
  return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, wd * wh * ww, c)


def _from_windows(x, window, padded):
  """[B * G, N, C] -> [B, D, H, W, C]."""
  counts = [n // w for n, w in zip(padded, window)]
  x = x.reshape(-1, *counts, *window, x.shape[-1])
  return x.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, *padded, x.shape[-1])


class Block(nn.Module):
  """Window attention and MLP, both residual with stochastic depth.

  Attributes:
    window: the full one.
    shrinks: whether `window_and_shift` fits it to small maps, as Video Swin
      does; else these are padded to it and windows shift all the same.
  """

  num_heads: int
  shifted: bool
  drop_path: float = 0.0
  window: Window = WINDOW
  shrinks: bool = True
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, num_frames, train=False):
    """x float[B, D, H, W, C]; num_frames int[] or None, see `VideoSwin`."""
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    x = x + self._drop(
      self._attention(
        layers.LayerNorm(name="norm1", **types)(x), num_frames, types
      ),
      train,
    )
    norm = layers.NormWeights(self.param_dtype, name="norm2")(x.shape[-1])
    return x + self._drop(SwinMlp(name="mlp", **types)(x, norm), train)

  def _attention(self, x, num_frames, types):
    size = x.shape[1:4]
    window, shift = self.window, tuple(n // 2 for n in self.window)
    if self.shrinks:
      window, shift = window_and_shift(size, self.window)
    if not self.shifted:
      shift = (0, 0, 0)
    key_valid = None
    if num_frames is not None:
      frame = np.arange(size[0])
      if size[0] <= self.window[0]:
        # The real clip's window would end with its last frame.
        tokens = np.repeat(frame[: window[0]], window[1] * window[2])
        key_valid = tokens < num_frames
      else:
        # The real clip would be padded with zeros here, and attended to.
        real = (frame < num_frames)[:, None, None, None]
        x = jnp.where(real, x, 0)
    padding = [(0, -n % w) for n, w in zip(size, window)]
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    padded = x.shape[1:4]
    region = _region_ids(padded, window, shift) if any(shift) else None
    if any(shift):
      x = jnp.roll(x, [-s for s in shift], (1, 2, 3))
    x = window_attention.WindowAttention(
      self.num_heads,
      in_time=self.shifted and self.window[0] > 1,
      window=self.window,
      name="attn",
      **types,
    )(_to_windows(x, window), region, key_valid)
    x = _from_windows(x, window, padded)
    if any(shift):
      x = jnp.roll(x, shift, (1, 2, 3))
    return x[:, : size[0], : size[1], : size[2]]

  def _drop(self, x, train):
    if not train or not self.drop_path:
      return x
    keep = 1 - self.drop_path
    shape = (x.shape[0], 1, 1, 1, 1)
    kept = jax.random.bernoulli(self.make_rng("drop_path"), keep, shape)
    return jnp.where(kept, x / keep, 0).astype(x.dtype)


class SwinMlp(nn.Module):
  """Norm, fc1, exact GELU, fc2, with 4 times the channels in between."""

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, norm):
    """x float[..., C]; norm: parameters of `layers.NormWeights`."""
    c = x.shape[-1]
    affine = functools.partial(
      layers.Affine,
      kernel_init=layers.xavier_uniform,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )
    fc1, fc2 = affine(c, 4 * c, name="fc1")(), affine(4 * c, c, name="fc2")()
    return rowwise.apply(_norm_and_mlp, (norm, fc1, fc2), x)


def _norm_and_mlp(params, x, masks, in_chunk):
  del masks
  norm, fc1, fc2 = params
  dtype = fc1[0].dtype
  x = layers.layer_norm(norm, x, in_chunk=in_chunk, dtype=dtype)
  return layers.feed_forward(x, fc1, fc2, _gelu)


class PatchMerging(nn.Module):
  """Halves height and width, doubles the channels."""

  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    h, w, c = x.shape[-3:]
    x = jnp.pad(x, [(0, 0), (0, 0), (0, h % 2), (0, w % 2), (0, 0)])
    # (even, even), (odd, even), (even, odd), (odd, odd) (row, column)
    x = x.reshape(*x.shape[:2], -(-h // 2), 2, -(-w // 2), 2, c)
    x = x.transpose(0, 1, 2, 4, 5, 3, 6)
    x = x.reshape(*x.shape[:4], 4 * c)
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    return layers.Dense(
      2 * c,
      use_bias=False,
      kernel_init=layers.xavier_uniform,
      name="reduction",
      **types,
    )(layers.LayerNorm(name="norm", **types)(x))


class PatchEmbed(nn.Module):
  """4x4 patches of every frame to tokens: a linear layer and a norm.

  Attributes:
    kernel: size of the convolution that the layer is in checkpoints.
  """

  embed_dim: int
  kernel: tuple[int, ...] = (1, _PATCH, _PATCH)
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, frames):
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    kernel, bias = layers.ConvWeights(
      self.kernel, self.embed_dim, name="proj", **types
    )(frames.shape[-1])
    h, w = frames.shape[2:4]
    padding = [(0, 0), (0, 0), (0, -h % _PATCH), (0, -w % _PATCH), (0, 0)]
    x = jnp.pad(frames.astype(self.dtype), padding)
    x = _to_windows(x, (1, _PATCH, _PATCH))
    # As a product: XLA:CPU takes three times as long for the convolution.
    x = layers.matmul(
      x.reshape(*frames.shape[:2], -(-h // _PATCH), -(-w // _PATCH), -1),
      kernel.reshape(-1, self.embed_dim),
    )
    return layers.LayerNorm(name="norm", **types)(x + bias)


class BlockStack(nn.Module):
  """The blocks of one stage, every second one shifted."""

  num_heads: int
  drop_paths: tuple[float, ...]
  window: Window = WINDOW
  shrinks: bool = True
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: str = remat_lib.NONE

  @nn.compact
  def __call__(self, x, num_frames, *, train=False):
    block = remat_lib.wrap(Block, self.remat, static_argnums=3)
    for i, rate in enumerate(self.drop_paths):
      x = block(
        self.num_heads,
        i % 2 == 1,
        rate,
        self.window,
        self.shrinks,
        self.dtype,
        self.param_dtype,
        name=f"blocks_{i}",
      )(x, num_frames, train)
    return x


class VideoSwin(nn.Module):
  """Video Swin with patch size (1, 4, 4) and window (8, 7, 7).

  For `remat` see `sgmg.SgMg`.
  """

  embed_dim: int
  depths: tuple[int, ...]
  num_heads: tuple[int, ...]
  drop_path: float = 0.2
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: str = remat_lib.NONE

  @nn.compact
  def __call__(self, frames, num_frames=None, *, train=False):
    """Features of strides 4, 8, 16 and 32.

    Args:
      frames: float[B, T, H, W, 3].
      num_frames: int[] real frames, the rest pads the clip in time without
        changing the real frames' features; T must then be at most 8 or a
        multiple of 8, and the real frames must need that many windows. None
        if all frames are real.
      train: drop paths at random (rng stream `drop_path`).

    Returns:
      Four maps float[B, T, h, w, C * 2**i].
    """
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    x = PatchEmbed(self.embed_dim, name="patch_embed", **types)(frames)
    return tuple(self._stages(x, num_frames, train=train))

  def _stages(self, x, num_frames, *, train, **windows):
    """Yield the blocks' output of each stage.

    Args:
      x: float[B, D, H, W, C], embedded patches.
      num_frames, train: see `__call__`.
      **windows: `window` and `shrinks` of `BlockStack`.
    """
    types = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    rates = np.linspace(0, self.drop_path, sum(self.depths)).tolist()
    for i, (depth, heads) in enumerate(zip(self.depths, self.num_heads)):
      if i:
        x = PatchMerging(name=f"downsamples_{i - 1}", **types)(x)
      done = sum(self.depths[:i])
      x = BlockStack(
        heads,
        tuple(rates[done : done + depth]),
        remat=self.remat,
        name=f"layers_{i}",
        **windows,
        **types,
      )(x, num_frames, train=train)
      yield x
