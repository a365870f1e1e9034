"""Jitted steps of inference, shared by all predictors of one model."""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp

from sgmg_jax import precision as precision_lib
from sgmg_jax import types
from sgmg_jax.inference import preprocess
from sgmg_jax.model import sgmg, variants

# Shapes that each step stays compiled for, some megabytes each.
MAX_SHAPES: Final = 16


class BoundedJit:
  """`jax.jit` that forgets the shapes that were used longest ago.

  The first argument, the parameters, always has the same shapes.

  Args:
    function: what to compile.
    most: programs that are kept.
  """

  def __init__(self, function: Callable, most: int = MAX_SHAPES):
    self._function = function
    self._most = most
    self._programs: collections.OrderedDict[Any, Callable] = (
      collections.OrderedDict()
    )
    self._lock = threading.Lock()

  def __call__(self, params, *args):
    return self._program(args)(params, *args)

  def trace(self, params, *args):
    """As `jax.jit` traces: for devices that are not here, and not kept."""
    return jax.jit(self._copy()).trace(params, *args)

  def __len__(self) -> int:
    """Programs that are kept."""
    return len(self._programs)

  def _copy(self) -> Callable:
    """A function of its own: what JAX keeps of a program goes with it."""

    @functools.wraps(self._function)
    def copy(*args):
      return self._function(*args)

    return copy

  def _program(self, args) -> Callable:
    leaves, tree = jax.tree.flatten(args)
    key = tree, tuple((x.shape, x.dtype) for x in leaves)
    with self._lock:
      if key not in self._programs:
        self._programs[key] = jax.jit(self._copy())
      self._programs.move_to_end(key)
      while len(self._programs) > self._most:
        self._programs.popitem(last=False)
      return self._programs[key]


@dataclasses.dataclass(frozen=True)
class Programs:
  """Jitted functions of parameters and arrays, of one clip and G sentences.

  Attributes:
    encode_video: (params, clip uint8[1, T, H, W, 3], size int32[1, 2],
      num_frames int32[]) -> `types.VideoFeatures`.
    encode_frame: (params, clip, size, num_frames, frame int32[1, 1]) ->
      `types.VideoFeatures` of that frame alone, seen with the others.
    encode_text: (params, tokens int32[G, L], token_valid bool[G, L]) ->
      `types.TextFeatures`.
    query: (params, video, text) -> mask logits float32[G, T, H, W], scores
      float32[G, T] (NaN where the logit is not finite) and boxes
      float32[G, T, 4] of each sentence's best query.
    query_all: the same of all queries of one frame: logits
      float32[G, Q, H, W], scores float32[G, Q] and boxes float32[G, Q, 4].
  """

  encode_video: BoundedJit
  encode_frame: BoundedJit
  encode_text: BoundedJit
  query: BoundedJit
  query_all: BoundedJit


@functools.lru_cache(maxsize=4)
def compiled(
  variant: variants.Variant,
  dtype: str = "float32",
  precision: precision_lib.Policy = "highest",
) -> Programs:
  """The steps of one model, the same object for the same arguments."""
  model = sgmg.SgMg(
    variant=variant, dtype=jnp.dtype(dtype), precision=precision
  )

  def apply(method, params, *args):
    return model.apply({"params": params}, *args, method=method)

  def encode_video(params, clip, size, num_frames):
    inputs = *preprocess.normalise(clip, size), size, num_frames
    return apply("encode_video", params, *inputs)

  def encode_frame(params, clip, size, num_frames, frame):
    inputs = *preprocess.normalise(clip, size), size, num_frames, frame
    return apply(_encode_frame, params, *inputs)

  def encode_text(params, tokens, token_valid):
    return apply("encode_text", params, tokens, token_valid)

  def query(params, video, text):
    return apply(_segment, params, video, text)

  def query_all(params, video, text):
    return apply(_segment_all, params, video, text)

  functions = encode_video, encode_frame, encode_text, query, query_all
  return Programs(*map(BoundedJit, functions))


def _encode_frame(model: sgmg.SgMg, pixels, valid, size, num_frames, frame):
  """Features of one frame: the backbone sees the clip, the rest that one."""
  stages = model.backbone_0(pixels.astype(model.dtype), num_frames)
  stages = types.take_frames(stages, frame)
  return model.project(stages, valid, size, frame.shape[1])


def _segment(model: sgmg.SgMg, video, text):
  """Mask logits, scores and boxes of the best query, as `Programs.query`."""
  decoded = model.transform(model.fuse(video, text), video, text)
  masks, query = model.segment(decoded, video)
  logits = types.take_query(decoded.logits[-1], query, axis=2)
  boxes = types.take_query(decoded.boxes[-1], query, axis=2)
  return masks, _scores(logits), boxes


def _segment_all(model: sgmg.SgMg, video, text):
  """Mask logits, scores and boxes of all queries of the only frame."""
  decoded = model.transform(model.fuse(video, text), video, text)
  masks = model.refine(model.patch_masks(decoded, video), video)[:, 0]
  return masks, _scores(decoded.logits[-1][:, 0]), decoded.boxes[-1][:, 0]


def _scores(logits):
  # The sigmoid would hide infinity.
  return jnp.where(jnp.isfinite(logits), jax.nn.sigmoid(logits), jnp.nan)
