"""Training losses: seven terms per decoder layer and their weighted sum.

SgMg (ICCV 2023), section 3.6. The last layer's losses have plain names; those
of an earlier layer i end in `_i`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sgmg_jax import types
from sgmg_jax.losses import matching, means, terms

Array = types.Array

WEIGHTS = {
  "loss_ce": 2.0,
  "loss_bbox": 5.0,
  "loss_giou": 2.0,
  "loss_mask": 2.0,
  "loss_dice": 5.0,
  "loss_mask_low": 2.0,
  "loss_dice_low": 5.0,
}


def layer_losses(
  preds: types.LayerPredictions,
  refined_masks: Array,
  query: Array,
  targets: types.Targets,
  row_valid: Array | None = None,
) -> dict[str, means.Mean]:
  """The unweighted losses of one decoder layer.

  Args:
    preds: the layer's predictions, all queries.
    refined_masks: float[B, T, H, W], the matched query's full-resolution
      logits after the segmentation optimiser.
    query: int[B], the matched query of each clip.
    targets: ground truth.
    row_valid: bool[B], False for rows that are not counted; None: all True.

  Returns:
    Means under the names of `WEIGHTS`, all over the number of valid frames.
  """
  num_queries = preds.logits.shape[-1]
  is_match = jnp.arange(num_queries) == query[:, None, None]  # [B, 1, Q]
  is_object = is_match & targets.valid[..., None].astype(bool)
  boxes = types.take_query(preds.boxes, query)  # [B, T, 4]
  masks_low = types.take_query(preds.masks_low, query)  # [B, T, H/2, W/2]
  truth_low = matching.half_resolution(targets.masks)
  pixels = (1, 2, 3)

  def total_of(values):
    if row_valid is not None:
      rows = row_valid.reshape(-1, *(1,) * (values.ndim - 1))
      values = jnp.where(rows, values, 0.0)
    return values.sum()

  def focal(logits, truth):
    return total_of(terms.sigmoid_focal(logits, truth).mean(pixels))

  def dice(logits, truth):
    return total_of(terms.dice(logits, truth, pixels))

  sums = {
    "loss_ce": total_of(terms.sigmoid_focal(preds.logits, is_object)),
    "loss_bbox": total_of(terms.l1(boxes, targets.boxes)),
    "loss_giou": total_of(1.0 - terms.giou(boxes, targets.boxes)),
    "loss_mask": focal(refined_masks, targets.masks),
    "loss_dice": dice(refined_masks, targets.masks),
    "loss_mask_low": focal(masks_low, truth_low),
    "loss_dice_low": dice(masks_low, truth_low),
  }
  count = targets.valid.sum()
  return {name: means.of(value, count) for name, value in sums.items()}


def name_layers(losses: dict[str, Any]) -> dict[str, Any]:
  """Losses of one layer each under their final names, of trees of arrays whose
  first axis is the layers', first layer first."""
  named = {}
  for name, values in losses.items():
    last = len(jax.tree.leaves(values)[0]) - 1
    for i in range(last + 1):
      suffix = "" if i == last else f"_{i}"
      named[name + suffix] = jax.tree.map(lambda x, i=i: x[i], values)
  return named


def weight(name: str) -> float:
  """The weight of a loss by its final name (`loss_ce_0` -> that of
  `loss_ce`)."""
  stem, _, layer = name.rpartition("_")
  return WEIGHTS[stem if layer.isdigit() else name]


def total(losses: dict[str, Any]) -> Any:
  """Weighted sum over all names of `name_layers`, of means or numbers."""
  return sum(weight(name) * value for name, value in losses.items())
