"""Put clips of the input pipeline on the device as batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax import types
from sgmg_jax.errors import UserError
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.input_pipeline.batches import pipeline
from sgmg_jax.training import run_tokenizer

_normalise = jax.jit(preprocess.normalise)


class TrainingData:
  """Batches of any mixture of data sets, and the position in them.

  Attributes:
    batch_size: clips in a global batch.
    shapes: (height, width) of the frames of any batch.
    steps_per_epoch: None where there are no epochs.
  """

  def __init__(self, pipe: pipeline.Pipeline, *, max_tokens: int):
    self._pipe, self._max_tokens = pipe, max_tokens
    self.truncations = run_tokenizer.TruncationCounter()
    self.batch_size = pipe.global_batch_size
    self.shapes = pipe.shapes
    self.steps_per_epoch = None
    if pipe.num_samples is not None:
      self.steps_per_epoch = pipe.num_samples / pipe.global_batch_size

  @property
  def position(self) -> dict[str, Any]:
    """Tell in JSON where the next batch starts."""
    return self._pipe.position()

  def restore(self, position: dict[str, Any], step: int) -> None:
    """Go to a saved position.

    Raises:
      UserError: it belongs to other data.
    """
    del step  # The position knows.
    self._pipe.restore(position)

  def start(
    self, tokenizer: Any, sharding: jax.sharding.Sharding
  ) -> Iterator[types.Batch]:
    """Yield batches from the position on; `sharding` is by their first axis."""
    try:
      for batch in self._pipe:
        yield to_batch(
          batch, tokenizer, self._max_tokens, sharding, self.truncations
        )
    finally:
      self._pipe.close()


def open_data(config: ConfigDict, labels: Sequence[str] = ()) -> TrainingData:
  """Open the data that a config names.

  Args:
    config: of the run.
    labels: the entries that `Batch.labels` must have.

  Raises:
    UserError: there is no such data, or it has no such labels.
  """
  settings = config.data.to_dict()
  kind, split = settings.pop("kind"), settings.pop("split")
  if kind == "refshapes":
    settings = _drawn(**settings, labels=labels) | config.loader.to_dict()
  elif kind != "sets":
    raise UserError(f"data.kind: expected refshapes or sets, got {kind!r}")
  elif labels:
    raise UserError(
      f"auxiliary: needs the labels {', '.join(labels)}, which only RefShapes "
      "has (data.kind = 'refshapes'), expected ()"
    )
  pipe = pipeline.create(
    pipeline.Config(**settings),
    split,
    jax.process_index(),
    jax.process_count(),
    config.seed,
    train=True,
  )
  return TrainingData(pipe, max_tokens=config.tokenizer.max_tokens)


def _drawn(
  *, batch_size, expressions_per_clip, num_frames, height, width, **options
) -> dict[str, Any]:
  """Make the settings of a pipeline that draws RefShapes without end."""
  # Positions saved before there were groups lack them.
  if not options["group"]:
    del options["group"]
  return {
    "root": "",
    "sets": (("refshapes", "", 1),),
    "endless": True,
    "batch_size": batch_size,
    "expressions_per_clip": expressions_per_clip,
    "num_frames": num_frames,
    "buckets": (batch_lib.padded_size(height, width),),
    "options": {"refshapes": {"height": height, "width": width, **options}},
  }


def to_batch(
  clips: batch_lib.ClipBatch,
  tokenizer: Any,
  max_tokens: int,
  sharding: jax.sharding.Sharding,
  on_truncation: Callable[[str], None],
) -> types.Batch:
  """Tokenize and normalise on the device; frames travel there as bytes.

  Args:
    max_tokens: static length of sentences.
    sharding: of all arrays, by their first axis.
    on_truncation: see `tokenizer.encode`.

  Raises:
    UserError: an empty expression.
  """
  filling = _filling(clips)
  tokens, token_valid = tokenizer_lib.encode(
    tokenizer,
    ["nothing" if f else e for f, e in zip(filling, clips.expressions)],
    max_tokens,
    on_truncation,
  )
  put = functools.partial(jax.make_array_from_process_local_data, sharding)
  size = put(clips.size)
  frames, pixel_valid = _normalise(put(clips.frames), size)
  return types.Batch(
    frames=frames,
    pixel_valid=pixel_valid,
    size=size,
    tokens=put(np.asarray(tokens)),
    token_valid=put(np.asarray(token_valid) & ~filling[:, None]),
    targets=types.Targets(
      boxes=put(clips.boxes), masks=put(clips.masks), valid=put(clips.valid)
    ),
    annotated=jax.tree.map(put, clips.annotated),
    labels=jax.tree.map(put, clips.labels),
    expression_valid=jax.tree.map(put, clips.expression_valid),
  )


def _filling(clips: batch_lib.ClipBatch) -> np.ndarray:
  """bool[B * E], rows that only fill: they have no words. An expression that
  counts and is empty is an error, which the tokenizer tells."""
  empty = np.array([e == batch_lib.FILLING for e in clips.expressions])
  counts = np.ones((len(clips.size), len(empty) // len(clips.size)), bool)
  if clips.expression_valid is not None:
    counts &= clips.expression_valid
  if clips.valid_row is not None:
    counts &= clips.valid_row[:, None]
  return empty & ~counts.reshape(-1)
