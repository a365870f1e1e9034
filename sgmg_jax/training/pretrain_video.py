"""The visual task of pre-training: what encodes a video names what it shows.

The paper starts from Video Swin trained on Kinetics (SgMg, ICCV 2023, section
4.2). A model trained from scratch has nothing of the kind, and sentences and
masks teach it to tell shapes and textures slowly.

Heads that are thrown away afterwards read the looks and the motion of an
object off each cell of the maps that SgMg fuses words into. The heads are
linear, and behind the projections: what a perceptron finds in the backbone's
own maps, the model does not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from sgmg_jax import types
from sgmg_jax.checkpoints import abstract, native
from sgmg_jax.errors import UserError
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline import refshapes_cell_batches as cell_batches
from sgmg_jax.input_pipeline.refshapes import cell_labels
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import pretrain_loop

PART = "video"
STRIDES = (8, 16, 32)
# A cell of the coarsest map holds more than one object.
_STRIDE_WEIGHTS = (1.0, 1.0, 0.4)
_BACKGROUND_WEIGHT = 0.15
_MOTION_WEIGHT = 3.0
_NUM_CLASSES = [len(words) + 1 for words in cell_labels.LOOKS.values()]


class CellHeads(nn.Module):
  """A linear layer for the maps of each of `STRIDES`."""

  @nn.compact
  def __call__(self, maps):
    """Scores of maps float[..., C]: float[..., S], for the classes of each of
    `cell_labels.LOOKS` in turn, then the motion."""
    size = sum(_NUM_CLASSES) + len(cell_labels.MOTION)
    return [nn.Dense(size)(x) for x in maps]


def measure(
  scores: Sequence[jax.Array],
  batch: cell_batches.CellBatch,
  total: pretrain_loop.Total = lambda x: x,
) -> dict[str, jax.Array]:
  """Losses and accuracies over the cells that show an object.

  Args:
    scores: of `CellHeads`.
    batch: whose labels they are compared with.
    total: sums a count over the devices that share the batch.

  Returns:
    For every stride s `loss_looks_s` (cross entropies; the background takes
    part), `accuracy_<look>_s`, and for clips of more than a frame
    `loss_motion_s` (L1, mean of the entries). This device's share: a sum over
    devices gives the mean over all cells.
  """
  mean = functools.partial(pretrain_loop.masked_mean, total=total)
  measured = {}
  for s, score, classes, motion in zip(
    STRIDES, scores, batch.classes, batch.motion, strict=True
  ):
    classes = classes.astype(jnp.int32)
    shown = classes[..., 0] > 0

    *looks, moved = jnp.split(score, np.cumsum(_NUM_CLASSES), -1)
    loss = 0.0
    for k, (name, logits) in enumerate(zip(cell_labels.LOOKS, looks)):
      entropy = optax.softmax_cross_entropy_with_integer_labels(
        logits, classes[..., k]
      )
      loss += mean(entropy, shown) + _BACKGROUND_WEIGHT * mean(entropy, ~shown)
      right = jnp.argmax(logits, -1) == classes[..., k]
      measured[f"accuracy_{name}_{s}"] = mean(right, shown)
    measured[f"loss_looks_{s}"] = loss
    if motion.shape[1] > 1:
      error = jnp.mean(jnp.abs(moved - motion), -1)
      measured[f"loss_motion_{s}"] = mean(error, shown)
  return measured


def _total_loss(measured):
  return sum(
    weight
    * (
      measured[f"loss_looks_{s}"]
      + _MOTION_WEIGHT * measured.get(f"loss_motion_{s}", 0.0)
    )
    for s, weight in zip(STRIDES, _STRIDE_WEIGHTS)
  )


def make_objective(
  model: sgmg.SgMg,
) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
  """The objective of a `pretrain_loop.Task` on `CellBatch`es.

  Args:
    model: those of its parameters that `encode_video` needs are the task's
      `video`, those of `CellHeads` its `heads`. Only the weight decay moves
      those of the stride-64 map, whose cells are not asked.
  """

  def objective(params, batch, rngs, total):
    size = jnp.tile(jnp.array(batch.frames.shape[2:4]), (len(batch.frames), 1))
    frames, pixel_valid = preprocess.normalise(batch.frames, size)
    video = model.apply(
      {"params": params[PART]},
      frames,
      pixel_valid,
      size,
      train=True,
      rngs=rngs,
      method="encode_video",
    )
    maps = video.levels[: len(STRIDES)]
    scores = CellHeads().apply({"params": params["heads"]}, maps)
    measured = measure(scores, batch, total)
    return _total_loss(measured), measured

  return objective


def init_params(model: sgmg.SgMg, seed: int, init_from: str) -> types.Params:
  """Random parameters, replaced where a checkpoint holds them.

  Args:
    model: the network.
    seed: of the random ones.
    init_from: a native checkpoint, whole or part; empty: none.

  Returns:
    `video`, those top-level modules of the model that `encode_video` needs,
    and `heads`, those of `CellHeads`.

  Raises:
    UserError: the checkpoint is of another size, or holds nothing of `video`.
  """

  @jax.jit
  def init(key):
    keys = jax.random.split(key)
    side = sgmg.MIN_PADDED_SIDE
    video, variables = model.init_with_output(
      keys[0],
      jnp.zeros((1, 1, side, side, 3)),
      jnp.ones((1, side, side), bool),
      jnp.full((1, 2), side),
      method="encode_video",
    )
    maps = video.levels[: len(STRIDES)]
    heads = CellHeads().init(keys[1], maps)
    return {PART: variables["params"], "heads": heads["params"]}

  params = init(jax.random.key(seed))
  if not init_from:
    return params
  fresh = params[PART]
  # The rest of the model only by its shapes, to check a whole checkpoint.
  loaded = native.start_from(
    {**abstract.model(model.variant), **fresh}, init_from
  )
  if all(loaded[name] is fresh[name] for name in fresh):
    raise UserError(
      f"init_from: {init_from} holds nothing of what is pre-trained "
      f"({', '.join(sorted(fresh))})"
    )
  video = jax.tree.map(
    lambda old, new: jnp.asarray(new, old.dtype),
    fresh,
    {name: loaded[name] for name in fresh},
  )
  return {**params, PART: video}


def make_task(
  config: ConfigDict, variant: variants.Variant
) -> pretrain_loop.Task:
  """The task of `configs/refshapes_video.py`.

  Raises:
    UserError: frames too small for the model, or see `init_params`.
  """
  if min(config.data.height, config.data.width) < sgmg.MIN_PADDED_SIDE:
    raise UserError(
      f"data: clips of {config.data.height}x{config.data.width}, expected a "
      f"height and a width of at least {sgmg.MIN_PADDED_SIDE} and multiples of "
      f"{max(STRIDES)}"
    )
  model = sgmg.SgMg(variant)

  def batches(phase, start) -> Iterator[cell_batches.CellBatch]:
    spec = cell_batches.CellBatchSpec(
      **config.data,
      seed=config.seed,
      batch_size=phase.batch_size,
      num_frames=phase.num_frames,
      strides=STRIDES,
    )
    return cell_batches.batches(spec, start=start, **config.loader)

  return pretrain_loop.Task(
    part=PART,
    params=init_params(model, config.seed, config.init_from),
    objective=make_objective(model),
    batches=batches,
    progress=_progress,
  )


def _progress(means):
  shares = [
    f"{name.split('_')[1]} {100 * value:.0f} %"
    for name, value in means.items()
    if name.startswith("accuracy_") and name.endswith("_16")
  ]
  return f"right at stride 16: {', '.join(shares)}"
