"""Put clips of the input pipeline on the device as batches.

A run reads either RefShapes clips with several sentences each
(`RefShapesData`) or any mixture of data sets (`PipelineData`). Both are
iterators of `types.Batch` that can tell and restore their position.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from ml_collections import ConfigDict

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax import types
from sgmg_jax.errors import UserError
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.input_pipeline.batches import pipeline
from sgmg_jax.input_pipeline.refshapes import batches
from sgmg_jax.training import run_tokenizer

_normalise = jax.jit(preprocess.normalise)


class TrainingData(Protocol):
  """What the loop takes batches from.

  Attributes:
    batch_size: clips in a global batch.
    shapes: (height, width) of the frames of any batch.
    steps_per_epoch: None where there are no epochs.
    position: JSON, where the next batch starts.
    truncations: counts sentences that lost their end.
  """

  batch_size: int
  steps_per_epoch: float | None
  shapes: tuple[tuple[int, int], ...]
  position: dict[str, Any]
  truncations: run_tokenizer.TruncationCounter

  def restore(self, position: dict[str, Any], step: int) -> None:
    """Goes to a saved position, after `step` batches.

    Raises:
      UserError: it belongs to other data.
    """

  def start(
    self, tokenizer: Any, sharding: jax.sharding.Sharding
  ) -> Iterator[types.Batch]:
    """Batches from the position on; `sharding` is by their first axis."""


class RefShapesData:
  """RefShapes clips, several sentences each; see `refshapes_batches`."""

  def __init__(
    self,
    spec: batches.BatchSpec,
    *,
    max_tokens: int,
    num_workers: int,
    prefetch: int,
  ):
    self._spec, self._max_tokens = spec, max_tokens
    self._loader = dict(num_workers=num_workers, prefetch=prefetch)
    self._step = 0
    self.truncations = run_tokenizer.TruncationCounter()
    self.batch_size = spec.batch_size
    self.shapes = (spec.bucket,)
    self.steps_per_epoch = None
    # As JSON gives it back. Batches depend on the step beside this.
    self.position = json.loads(
      json.dumps(dataclasses.asdict(spec), allow_nan=False)
    )

  def restore(self, position, step):
    changed = [k for k, v in self.position.items() if position.get(k) != v]
    if changed:
      name = changed[0]
      raise UserError(
        f"the run was started with data.{name} = {position.get(name)!r}, not "
        f"{self.position[name]!r}: use another workdir (and init_from to start "
        "from its model)"
      )
    self._step = step

  def start(self, tokenizer, sharding):
    clips = batches.batches(self._spec, start=self._step, **self._loader)
    for batch in clips:
      yield to_batch(
        batch, tokenizer, self._max_tokens, sharding, self.truncations
      )


class PipelineData:
  """Any mixture of data sets; see `pipeline`."""

  def __init__(self, pipe: pipeline.Pipeline, *, max_tokens: int):
    self._pipe, self._max_tokens = pipe, max_tokens
    self.truncations = run_tokenizer.TruncationCounter()
    self.batch_size = pipe.global_batch_size
    self.shapes = pipe.shapes
    self.steps_per_epoch = pipe.num_samples / pipe.global_batch_size

  @property
  def position(self) -> dict[str, Any]:
    return self._pipe.position()

  def restore(self, position, step):
    del step  # The position knows.
    self._pipe.restore(position)

  def start(self, tokenizer, sharding):
    try:
      for batch in self._pipe:
        yield to_batch(
          batch, tokenizer, self._max_tokens, sharding, self.truncations
        )
    finally:
      self._pipe.close()


def open_data(config: ConfigDict, labels: Sequence[str] = ()) -> TrainingData:
  """Opens the data that a config names.

  Args:
    config: of the run.
    labels: the entries that `Batch.labels` must have.

  Raises:
    UserError: there is no such data, or it has no such labels.
  """
  settings = config.data.to_dict()
  kind = settings.pop("kind")
  max_tokens = config.tokenizer.max_tokens
  if kind == "refshapes":
    spec = batches.BatchSpec(**settings, seed=config.seed, labels=labels)
    return RefShapesData(spec, max_tokens=max_tokens, **config.loader)
  if kind != "sets":
    raise UserError(f"data.kind: expected refshapes or sets, got {kind!r}")
  if labels:
    raise UserError(
      f"auxiliary: needs the labels {', '.join(labels)}, which only RefShapes "
      "has (data.kind = 'refshapes'), expected ()"
    )
  split = settings.pop("split")
  pipe = pipeline.create(
    pipeline.Config(**settings),
    split,
    jax.process_index(),
    jax.process_count(),
    config.seed,
    train=True,
  )
  return PipelineData(pipe, max_tokens=max_tokens)


def to_batch(
  clips: batch_lib.ClipBatch,
  tokenizer: Any,
  max_tokens: int,
  sharding: jax.sharding.Sharding,
  on_truncation: Callable[[str], None],
) -> types.Batch:
  """Tokenizes and normalises; frames travel as bytes.

  Args:
    clips: of this process.
    tokenizer: of the model.
    max_tokens: static length of sentences.
    sharding: of all arrays, by their first axis.
    on_truncation: see `tokenizer.encode`.

  Raises:
    UserError: an empty expression.
  """
  tokens, token_valid = tokenizer_lib.encode(
    tokenizer, clips.expressions, max_tokens, on_truncation
  )
  put = functools.partial(jax.make_array_from_process_local_data, sharding)
  size = put(clips.size)
  frames, pixel_valid = _normalise(put(clips.frames), size)
  return types.Batch(
    frames=frames,
    pixel_valid=pixel_valid,
    size=size,
    tokens=put(np.asarray(tokens)),
    token_valid=put(np.asarray(token_valid)),
    targets=types.Targets(
      boxes=put(clips.boxes), masks=put(clips.masks), valid=put(clips.valid)
    ),
    annotated=jax.tree.map(put, clips.annotated),
    labels=jax.tree.map(put, clips.labels),
    expression_valid=jax.tree.map(put, clips.expression_valid),
  )
