"""Pre-training tasks: the video side and the text encoder, each with heads.

The heads are thrown away; what remains of a run is a checkpoint of the part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax import types
from sgmg_jax.checkpoints import expected_shapes, native
from sgmg_jax.errors import UserError
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline.batches import workers
from sgmg_jax.input_pipeline.refshapes.labels import (
  cell_batches,
  meaning_labels,
  sentence_batches,
)
from sgmg_jax.model import sgmg, variants
from sgmg_jax.pretraining import cell_heads, sentence_heads
from sgmg_jax.training import run_tokenizer, setup
from sgmg_jax.training import step as step_lib

# Parts of a model, keys of `expected_shapes.PATHS`.
VIDEO, TEXT = "video", "text_encoder"


@dataclasses.dataclass(frozen=True)
class Task:
  """One part of a model to pre-train: parameters, loss and batches.

  Attributes:
    part: of the model, a key of `expected_shapes.PATHS`.
    params: at the start: the modules of the model under the part's name, and
      `heads`, thrown away at the end.
    objective: the loss to minimise.
    batches: (num_frames, batch_size, start) -> batches from step `start` on,
      without end: trees of arrays whose first axis is the batch's.
    describe: the metrics' means -> words for the log.
    tokenizer: that the part was trained with; None without text.
  """

  part: str
  params: types.Params
  objective: step_lib.Objective
  batches: Callable[[int, int, int], Iterator[Any]]
  describe: Callable[[dict[str, float]], str]
  tokenizer: Any = None


def make_video_objective(
  model: sgmg.SgMg, motion_weight: float = cell_heads.MOTION_WEIGHT
) -> step_lib.Objective:
  """Makes the objective on `CellBatch`es: classify the object in every cell.

  Args:
    model: those of its parameters that `encode_video` needs are the task's
      `video`, those of `cell_heads.CellHeads` its `heads`. Only the weight
      decay moves those of the stride-64 map, whose cells are not asked.
    motion_weight: of the loss of what objects do beside that of their looks.
  """

  def objective(params, batch, rngs):
    size = jnp.tile(jnp.array(batch.frames.shape[2:4]), (len(batch.frames), 1))
    frames, pixel_valid = preprocess.normalise(batch.frames, size)
    video = model.apply(
      {"params": params[VIDEO]},
      frames,
      pixel_valid,
      size,
      train=True,
      rngs=rngs,
      method="encode_video",
    )
    scores = cell_heads.apply_heads(params["heads"], video)
    measured = cell_heads.measure(scores, batch.cells)
    return cell_heads.total_loss(measured, motion_weight), measured

  return objective


def init_video(model: sgmg.SgMg, seed: int, init_from: str) -> types.Params:
  """Draws parameters, replaced where a checkpoint holds them.

  Args:
    init_from: a native checkpoint, whole or part; empty: none.

  Returns:
    `video`, those top-level modules of the model that `encode_video` needs,
    and `heads`, those of `cell_heads.CellHeads`.

  Raises:
    UserError: the checkpoint is of another size, or holds nothing of `video`.
  """

  @jax.jit
  def init(key):
    keys = jax.random.split(key)
    side = types.MIN_PADDED_SIDE
    variables = model.init(
      keys[0],
      jnp.zeros((1, 1, side, side, 3)),
      jnp.ones((1, side, side), bool),
      jnp.full((1, 2), side),
      method="encode_video",
    )
    heads = cell_heads.init(keys[1], model.variant.width)
    return {VIDEO: variables["params"], "heads": heads}

  params = init(jax.random.key(seed))
  if not init_from:
    return params
  fresh = params[VIDEO]
  # The rest of the model only by its shapes, to check a whole checkpoint.
  loaded = native.start_from(
    {**expected_shapes.model(model.variant), **fresh}, init_from
  )
  loaded = {name: loaded[name] for name in fresh}
  pairs = zip(jax.tree.leaves(loaded), jax.tree.leaves(fresh), strict=True)
  if all(new is old for new, old in pairs):
    raise UserError(
      f"init_from: {init_from} holds nothing of what is pre-trained "
      f"({', '.join(sorted(fresh))})"
    )
  video = jax.tree.map(
    lambda old, new: jnp.asarray(new, old.dtype),
    fresh,
    loaded,
  )
  return {**params, VIDEO: video}


def make_video_task(config: ConfigDict, variant: variants.Variant) -> Task:
  """Makes the task of `configs/refshapes_video.py`.

  Raises:
    UserError: frames too small for the model, or see `init_video`.
  """
  if min(config.data.height, config.data.width) < types.MIN_PADDED_SIDE:
    raise UserError(
      f"data: clips of {config.data.height}x{config.data.width}, expected a "
      f"height and a width of at least {types.MIN_PADDED_SIDE} and multiples "
      f"of {max(cell_heads.STRIDES)}"
    )
  model = setup.build_model(variant, precision=config.precision)

  def batches(num_frames, batch_size, start):
    sizes = dict(**config.data)
    if num_frames == 1:
      # It shows no motion, whatever the scene is.
      sizes["scene_frames"] = 1
    spec = cell_batches.CellBatchSpec(
      **sizes,
      seed=config.seed,
      batch_size=batch_size,
      num_frames=num_frames,
      strides=cell_heads.STRIDES,
    )
    make = functools.partial(cell_batches.make_batch, spec)
    return workers.in_order(make, itertools.count(start), **config.loader)

  def describe(means):
    shares = [
      f"{name.split('_')[1]} {100 * value:.0f} %"
      for name, value in means.items()
      if name.startswith("accuracy_") and name.endswith("_16")
    ]
    return f"right at stride 16: {', '.join(shares)}"

  return Task(
    part=VIDEO,
    params=init_video(model, config.seed, config.init_from),
    objective=make_video_objective(model, config.motion_weight),
    batches=batches,
    describe=describe,
  )


class TextBatch(NamedTuple):
  """Tokens int32[B, L], token_valid bool[B, L], and the labels bool[B, N] of
  `meaning_labels`."""

  tokens: np.ndarray
  token_valid: np.ndarray
  labels: np.ndarray


def make_text_task(
  config: ConfigDict, variant: variants.Variant, folder: pathlib.Path
) -> Task:
  """Makes the task of `configs/refshapes_text.py`.

  Args:
    folder: of the run, keeps its tokenizer.

  Raises:
    UserError: see `run_tokenizer.get_tokenizer`.
  """
  model = setup.build_model(variant, precision=config.precision)
  tokenizer = run_tokenizer.get_tokenizer(
    folder / "tokenizer",
    variant,
    source=config.tokenizer.source,
    vocab_clips=config.tokenizer.vocab_clips,
  )

  @jax.jit
  def init(key):
    keys = jax.random.split(key)
    tokens, valid = jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool)
    encoded, variables = model.init_with_output(
      keys[0], tokens, valid, method=_encode
    )
    heads = sentence_heads.MeaningHeads().init(keys[1], *encoded, valid)
    return {TEXT: variables["params"], "heads": heads["params"]}

  def objective(params, batch, rngs):
    encoded = model.apply(
      {"params": params[TEXT]},
      batch.tokens,
      batch.token_valid,
      train=True,
      rngs=rngs,
      method=_encode,
    )
    scores = sentence_heads.MeaningHeads().apply(
      {"params": params["heads"]}, *encoded, batch.token_valid
    )
    measured = sentence_heads.measure(*scores, batch.labels)
    return sentence_heads.total_loss(measured), measured

  truncations = run_tokenizer.TruncationCounter()

  def batches(num_frames, batch_size, start):
    spec = sentence_batches.SentenceBatchSpec(
      **config.data,
      seed=config.seed,
      batch_size=batch_size,
      num_frames=num_frames,
    )
    make = functools.partial(sentence_batches.make_batch, spec)
    made = workers.in_order(make, itertools.count(start), **config.loader)
    with contextlib.closing(made):
      for batch in made:
        encoded = tokenizer_lib.encode(
          tokenizer, batch.texts, config.tokenizer.max_tokens, truncations
        )
        yield TextBatch(*encoded, batch.labels)

  def describe(means):
    names = dict(all="words") | {name: name for name in meaning_labels.LOOKS}
    shares = [
      f"{word} {100 * means[f'accuracy_{name}']:.0f} %"
      for word, name in names.items()
    ]
    return f"sentences right: {', '.join(shares)}"

  return Task(
    part=TEXT,
    params=init(jax.random.key(config.seed)),
    objective=objective,
    batches=batches,
    describe=describe,
    tokenizer=tokenizer,
  )


def _encode(model, tokens, valid, *, train=False):
  # Not `encode_text`: its projections are no part of the text encoder.
  return model.text_encoder(tokens, valid, train=train)
