"""From clips made by the input pipeline to batches on the device."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import types
from sgmg_jax.checkpoints import tokenizer as tokenizer_lib
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline import refshapes_batches

_normalise = jax.jit(preprocess.normalise)


def to_batch(
  clips: refshapes_batches.ClipBatch, tokenizer: Any, max_tokens: int
) -> types.Batch:
  """Tokenizes and normalises; frames travel as bytes.

  Raises:
    UserError: an expression longer than `max_tokens`.
  """
  tokens, token_valid = tokenizer_lib.encode(
    tokenizer, clips.expressions, max_tokens
  )
  frames, pixel_valid = _normalise(clips.frames, clips.size)
  return types.Batch(
    frames=frames,
    pixel_valid=pixel_valid,
    size=jnp.asarray(clips.size),
    tokens=jnp.asarray(tokens),
    token_valid=jnp.asarray(token_valid),
    targets=types.Targets(
      boxes=jnp.asarray(clips.boxes),
      masks=jnp.asarray(clips.masks),
      valid=jnp.asarray(clips.valid),
    ),
  )


def batches(
  spec: refshapes_batches.BatchSpec,
  tokenizer: Any,
  *,
  start: int,
  max_tokens: int,
  num_workers: int,
  prefetch: int,
  sharding: jax.sharding.Sharding | None = None,
) -> Iterator[types.Batch]:
  """Batches `start`, `start + 1`, ...; see `refshapes_batches.batches`.

  `sharding` is that of every array, by its first axis.
  """
  clips = refshapes_batches.batches(
    spec, start=start, num_workers=num_workers, prefetch=prefetch
  )
  for batch in clips:
    yield jax.device_put(to_batch(batch, tokenizer, max_tokens), sharding)


def example_shapes(
  spec: refshapes_batches.BatchSpec,
  max_tokens: int,
  sharding: jax.sharding.Sharding | None = None,
) -> types.Batch:
  """The shapes of every batch, to compile before the first one is made."""
  b, e, t = spec.batch_size, spec.expressions_per_clip, spec.num_frames
  h, w = (
    -(-side // refshapes_batches.PAD_MULTIPLE) * refshapes_batches.PAD_MULTIPLE
    for side in (spec.height, spec.width)
  )
  shape = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
  return types.Batch(
    frames=shape((b, t, h, w, 3), np.float32),
    pixel_valid=shape((b, h, w), bool),
    size=shape((b, 2), np.int32),
    tokens=shape((b * e, max_tokens), np.int32),
    token_valid=shape((b * e, max_tokens), bool),
    targets=types.Targets(
      boxes=shape((b * e, t, 4), np.float32),
      masks=shape((b * e, t, h, w), bool),
      valid=shape((b * e, t), bool),
    ),
  )
