"""Five terms of matching and loss: pure functions, per example.

Letters: T frames, H W pixels. A leading `...` is any batch. Everything is
computed in float32 whatever comes in, unless that is float64. SgMg (ICCV
2023), section 3.6; the exact constants are the released model's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgmg_jax import precision, types

Array = types.Array

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
# Keeps the areas' quotients finite for the all-zero box of an absent frame.
GIOU_EPS = 1e-6


def to_corners(boxes: Array) -> Array:
  """float[..., 4] (cx, cy, w, h) -> (x1, y1, x2, y2), same unit."""
  cx, cy, w, h = jnp.split(boxes, 4, axis=-1)
  return jnp.concatenate(
    [cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], axis=-1
  )


def l1(boxes: Array, targets: Array) -> Array:
  """Sum of absolute differences of the 4 coordinates: float[...]."""
  difference = precision.at_least_float32(boxes) - targets
  return jnp.abs(difference).sum(-1)


def giou(boxes: Array, targets: Array) -> Array:
  """Generalised IoU, box against box.

  Args:
    boxes: float[..., 4], (cx, cy, w, h).
    targets: float[..., 4], broadcast against `boxes`.

  Returns:
    float[...] in [-1, 1]; finite also where both boxes are empty.
  """
  a = to_corners(precision.at_least_float32(boxes))
  b = to_corners(precision.at_least_float32(targets))

  def area(low, high):
    extent = jnp.maximum(high - low, 0.0)
    return extent[..., 0] * extent[..., 1]

  inter = area(
    jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
  )
  union = area(a[..., :2], a[..., 2:]) + area(b[..., :2], b[..., 2:]) - inter
  enclosing = area(
    jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])
  )
  iou = (inter + GIOU_EPS) / (union + GIOU_EPS)
  gap = (enclosing - union + GIOU_EPS) / (enclosing + GIOU_EPS)
  return iou - gap


def sigmoid_focal(logits: Array, targets: Array) -> Array:
  """Sigmoid focal loss of every entry (gamma 2, alpha 0.25).

  Args:
    logits: float[...].
    targets: bool or float[...] in {0, 1}, broadcast against `logits`.

  Returns:
    float[...], cross entropy * (1 - p_t)^gamma * alpha_t.
  """
  logits = precision.at_least_float32(logits)
  targets = targets.astype(logits.dtype)
  # With s = +-1 the three factors need one softplus and one sigmoid.
  signed = logits * (1.0 - 2.0 * targets)
  alpha = FOCAL_ALPHA * targets + (1.0 - FOCAL_ALPHA) * (1.0 - targets)
  # log instead of log1p, which is several times slower on a CPU; what it
  # loses, 1e-7 of entries that are right, no sum can tell.
  entropy = jnp.maximum(signed, 0) + jnp.log(1 + jnp.exp(-jnp.abs(signed)))
  return alpha * jnp.square(jax.nn.sigmoid(signed)) * entropy


def dice(logits: Array, targets: Array, axis: tuple[int, ...]) -> Array:
  """Dice loss 1 - (2 |P T| + 1) / (|P| + |T| + 1), sums over `axis` jointly.

  Args:
    logits: float[...].
    targets: bool or float[...] in {0, 1}, broadcast against `logits`.
    axis: the axes of one mask (all frames together).

  Returns:
    float[...] without `axis`.
  """
  probabilities = jax.nn.sigmoid(precision.at_least_float32(logits))
  targets = targets.astype(probabilities.dtype)
  inter = (probabilities * targets).sum(axis)
  total = probabilities.sum(axis) + targets.sum(axis)
  return 1.0 - (2.0 * inter + 1.0) / (total + 1.0)
