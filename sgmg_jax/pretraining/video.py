"""Pre-training of the visual side: classify the object in every cell.

Its task is that of `cells`, alone; in a training with sentences it may come
beside theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from sgmg_jax import precision, types
from sgmg_jax.checkpoints import expected_shapes, native
from sgmg_jax.errors import UserError
from sgmg_jax.inference import preprocess
from sgmg_jax.input_pipeline.refshapes.labels import cell_batches
from sgmg_jax.model import sgmg, variants
from sgmg_jax.pretraining import cell_heads, phases

PART = "video"


def make_objective(
  model: sgmg.SgMg, motion_weight: float = cell_heads.MOTION_WEIGHT
) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
  """The objective of a `phases.Task` on `CellBatch`es.

  Args:
    model: those of its parameters that `encode_video` needs are the task's
      `video`, those of `cell_heads.CellHeads` its `heads`. Only the weight
      decay moves those of the stride-64 map, whose cells are not asked.
    motion_weight: of the loss of what objects do beside that of their looks.
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
    scores = cell_heads.apply_heads(params["heads"], video)
    measured = cell_heads.measure(scores, batch.cells, total)
    return cell_heads.total_loss(measured, motion_weight), measured

  return objective


def init_params(model: sgmg.SgMg, seed: int, init_from: str) -> types.Params:
  """Random parameters, replaced where a checkpoint holds them.

  Args:
    model: the network.
    seed: of the random ones.
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
    side = sgmg.MIN_PADDED_SIDE
    variables = model.init(
      keys[0],
      jnp.zeros((1, 1, side, side, 3)),
      jnp.ones((1, side, side), bool),
      jnp.full((1, 2), side),
      method="encode_video",
    )
    heads = cell_heads.init(keys[1], model.variant.width)
    return {PART: variables["params"], "heads": heads}

  params = init(jax.random.key(seed))
  if not init_from:
    return params
  fresh = params[PART]
  # The rest of the model only by its shapes, to check a whole checkpoint.
  loaded = native.start_from(
    {**expected_shapes.model(model.variant), **fresh}, init_from
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


def make_task(config: ConfigDict, variant: variants.Variant) -> phases.Task:
  """The task of `configs/refshapes_video.py`.

  Raises:
    UserError: frames too small for the model, or see `init_params`.
  """
  if min(config.data.height, config.data.width) < sgmg.MIN_PADDED_SIDE:
    raise UserError(
      f"data: clips of {config.data.height}x{config.data.width}, expected a "
      f"height and a width of at least {sgmg.MIN_PADDED_SIDE} and multiples of "
      f"{max(cell_heads.STRIDES)}"
    )
  model = sgmg.SgMg(variant, precision=precision.check(config.precision))

  def batches(phase, start) -> Iterator[cell_batches.CellBatch]:
    sizes = dict(**config.data)
    if phase.num_frames == 1:
      # It shows no motion, whatever the scene is.
      sizes["scene_frames"] = 1
    spec = cell_batches.CellBatchSpec(
      **sizes,
      seed=config.seed,
      batch_size=phase.batch_size,
      num_frames=phase.num_frames,
      strides=cell_heads.STRIDES,
    )
    return cell_batches.batches(spec, start=start, **config.loader)

  return phases.Task(
    part=PART,
    params=init_params(model, config.seed, config.init_from),
    objective=make_objective(model, config.motion_weight),
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
