"""The model's forward pass for training: several expressions per clip.

The video is encoded once. Fast SgMg also fuses all expressions at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgmg_jax import types
from sgmg_jax.losses import criterion, matching, means
from sgmg_jax.model import patch_kernels, sgmg
from sgmg_jax.training import auxiliary
from sgmg_jax.training import step as step_lib

Array = types.Array


def encode_frames(
  model: sgmg.SgMg, frames, pixel_valid, size, annotated=None, *, train=False
) -> types.VideoFeatures:
  """Encodes a video as `SgMg.encode_video` does, the annotated frames alone.

  The backbone, which mixes frames, sees the whole clip; what follows works
  frame by frame.

  Args:
    model: bound, as `apply(method=encode_frames)` passes it.
    frames, pixel_valid, size: as of `SgMg.encode_video`.
    annotated: int[B, K]; None: all T frames.
    train: whether branches are dropped.

  Returns:
    Features of K frames.
  """
  if annotated is None:
    return model.encode_video(frames, pixel_valid, size, train=train)
  stages = model.backbone_0(frames.astype(model.dtype), train=train)
  stages = types.take_frames(stages, annotated)
  return model.project(stages, pixel_valid, size, annotated.shape[1])


class Matched(NamedTuple):
  """The predictions of all N decoder layers and the queries matched.

  Attributes:
    preds: predictions of all queries, N before the axes of the struct.
    query: int[N, B], the matched query.
    cost: float[N, B, Q], the matching costs.
    masks: float[N, B, T, H, W], the matched query's refined logits.
  """

  preds: types.LayerPredictions
  query: Array
  cost: Array
  masks: Array


def match_layers(
  decoded: types.DecoderOutput,
  patches: Array,
  targets: types.Targets,
  refine: Callable[[Array], Array],
) -> Matched:
  """Matches each decoder layer on its own and refines the matched queries.

  Args:
    decoded: output of `SgMg.transform`.
    patches: output of `SgMg.patch_masks_of_layers`.
    refine: `SgMg.refine` of patch logits float[B, T, N, h, w, 16].
  """
  height, width = targets.masks.shape[-2:]
  preds = types.LayerPredictions(
    logits=decoded.logits,
    boxes=decoded.boxes,
    masks_low=patch_kernels.to_masks(
      jnp.moveaxis(patches, 2, 0), (height // 2, width // 2)
    ),
  )
  query, cost = jax.vmap(matching.match, (0, None))(preds, targets)
  chosen = jax.vmap(types.take_query, (2, 0), 2)(patches, query)
  return Matched(preds, query, cost, jnp.moveaxis(refine(chosen), 2, 0))


def layer_losses(
  layers: Matched,
  targets: types.Targets,
  row_valid: Array | None = None,
) -> dict[str, means.Mean]:
  """Losses of all layers under their final names, see `criterion`."""
  return criterion.name_layers(
    jax.vmap(criterion.layer_losses, (0, 0, 0, None, None))(
      layers.preds, layers.masks, layers.query, targets, row_valid
    )
  )


def losses(
  model: sgmg.SgMg,
  params: types.Params,
  batch: types.Batch,
  rngs: Mapping[str, Array],
  *,
  tasks: Sequence[auxiliary.Task] = (),
  text_dropout: bool = True,
) -> tuple[
  dict[str, means.Mean],
  list[tuple[means.Mean, dict[str, means.Mean]]],
  Matched,
]:
  """Computes all losses of a batch, dropout on, see `match_layers`.

  Args:
    params: its parameters, and the heads of each task under its name.
    batch: B clips, B * E expressions.
    rngs: keys "dropout" and "drop_path".
    tasks: auxiliary losses.
    text_dropout: False switches the text encoder's dropout off (for a frozen
      one; the released code leaves it on).

  Returns:
    Unweighted losses, named as `criterion.name_layers` does; what `losses` of
    each task returns; and the layers that the first are of.
  """

  def apply(method, *args, **kwargs):
    return model.apply(
      {"params": params}, *args, **kwargs, rngs=rngs, method=method
    )

  every_frame = any(task.EVERY_FRAME for task in tasks)
  whole = video = apply(
    encode_frames,
    batch.frames,
    batch.pixel_valid,
    batch.size,
    None if every_frame else batch.annotated,
    train=True,
  )
  if every_frame and batch.annotated is not None:
    video = video.replace(
      levels=types.take_frames(video.levels, batch.annotated),
      low_levels=types.take_frames(video.low_levels, batch.annotated),
      num_frames=jnp.int32(batch.annotated.shape[1]),
    )
  text = apply(
    "encode_text",
    batch.tokens,
    batch.token_valid,
    train=True,
    encoder_dropout=text_dropout,
  )
  fused = apply("fuse", video, text)
  decoded = apply("transform", fused, video, text, train=True)
  extra = [
    task.losses(
      params[task.NAME],
      whole if task.EVERY_FRAME else video,
      fused,
      decoded,
      batch,
    )
    for task in tasks
  ]
  row_valid = batch.expression_valid
  if row_valid is not None:
    row_valid = row_valid.reshape(-1)
  layers = match_layers(
    decoded,
    apply("patch_masks_of_layers", decoded, video),
    batch.targets,
    lambda chosen: apply("refine", chosen, video),
  )
  named = layer_losses(layers, batch.targets, row_valid)
  return named, extra, layers


def make_objective(
  model: sgmg.SgMg,
  tasks: Sequence[auxiliary.Task] = (),
  *,
  text_dropout: bool = True,
) -> step_lib.Objective:
  """Makes the objective on `types.Batch`es: the weighted sum of all losses.

  Its metrics are the unweighted losses and those of the tasks; for the
  arguments see `losses`.
  """

  def objective(params, batch, rngs):
    metrics, extra, _ = losses(
      model,
      params,
      batch,
      rngs,
      tasks=tasks,
      text_dropout=text_dropout,
    )
    total = criterion.total(metrics)
    for loss, measured in extra:
      total += loss
      metrics |= measured
    return total, metrics

  return objective
