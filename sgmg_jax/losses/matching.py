"""Matching: assign an instance query to each object of a clip.

One query is chosen per clip, for all its frames and per decoder layer, by the
smallest weighted sum of five terms. With one object per clip the optimal
assignment is an argmin; `assign` solves the general case.
SgMg (ICCV 2023), section 3.6.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

from sgmg_jax import precision, types
from sgmg_jax.losses import terms

Array = types.Array

WEIGHTS = {"class": 2.0, "l1": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0}
# Inside the logarithms of the class cost.
LOG_EPS = 1e-8


def class_cost(logits: Array, valid: Array) -> Array:
  """Focal cost of calling a query the object, less that of calling it
  background, mean over valid frames: [B, T, Q], [B, T] -> [B, Q]."""
  logits = precision.at_least_float32(logits)
  # log(p + eps) and log(1 - p + eps) from the logarithms of p and 1 - p. As
  # written, compilers add 1 and eps first, and a sure query costs -inf.
  smoothed = lambda x: -jnp.logaddexp(-jax.nn.softplus(-x), math.log(LOG_EPS))
  p, rest = jax.nn.sigmoid(logits), jax.nn.sigmoid(-logits)
  alpha, gamma = terms.FOCAL_ALPHA, terms.FOCAL_GAMMA
  positive = alpha * rest**gamma * smoothed(logits)
  negative = (1 - alpha) * p**gamma * smoothed(-logits)
  weight = valid.astype(logits.dtype)[..., None]
  # A clip without a valid frame has no class term; the rest decides.
  frames = jnp.maximum(weight.sum(1), 1.0)
  return ((positive - negative) * weight).sum(1) / frames


def half_resolution(masks: Array) -> Array:
  """Ground truth [..., H, W] at the patch masks' stride 2."""
  return masks[..., 1::2, 1::2]


def cost_terms(
  preds: types.LayerPredictions, targets: types.Targets
) -> dict[str, Array]:
  """The unweighted terms, each float[B, Q]; keys as `WEIGHTS`."""
  boxes = targets.boxes[:, :, None]  # [B, T, 1, 4]
  masks = half_resolution(targets.masks)[:, :, None]  # [B, T, 1, H/2, W/2]
  pixels = (1, 3, 4)
  return {
    "class": class_cost(preds.logits, targets.valid),
    "l1": terms.l1(preds.boxes, boxes).mean(1),
    "giou": -terms.giou(preds.boxes, boxes).mean(1),
    "mask": terms.sigmoid_focal(preds.masks_low, masks).mean(pixels),
    "dice": terms.dice(preds.masks_low, masks, pixels) - 1.0,
  }


def match(
  preds: types.LayerPredictions, targets: types.Targets
) -> tuple[Array, Array]:
  """Choose a query per clip.

  Predicted and true boxes are relative to the unpadded clip.

  Args:
    preds: one decoder layer's predictions.
    targets: one object per clip.

  Returns:
    (query int[B], cost float[B, Q]), without gradient.
  """
  preds = jax.lax.stop_gradient(preds)
  values = cost_terms(preds, targets)
  cost = sum(WEIGHTS[name] * value for name, value in values.items())
  return jnp.argmin(cost, axis=-1), cost


def assign(cost: Array, object_valid: Array | None = None) -> Array:
  """Optimal one-to-one assignment of several objects to queries.

  Args:
    cost: float[B, O, Q], O <= Q.
    object_valid: bool[B, O], False for rows that only pad; None = all valid.

  Returns:
    int[B, O], the query of each object; rows that pad get a query no valid
    object wants.

  Raises:
    ValueError: more objects than queries.
  """
  if cost.shape[1] > cost.shape[2]:
    raise ValueError(f"{cost.shape=}: more objects than queries")
  # A constant row does not influence the others' optimum.
  if object_valid is not None:
    cost = jnp.where(object_valid[..., None], cost, 0.0)
  # The search never ends on a NaN.
  cost = jnp.nan_to_num(cost.astype(jnp.float32), nan=1e9)

  def one(clip_cost):
    rows, columns = optax.assignment.hungarian_algorithm(clip_cost)
    return jnp.zeros_like(columns).at[rows].set(columns)

  return jax.vmap(one)(cost)
