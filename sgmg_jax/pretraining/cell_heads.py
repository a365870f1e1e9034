"""Auxiliary loss: classify the object shown in every feature-map cell.

The paper starts from Video Swin trained on Kinetics (SgMg, ICCV 2023, section
4.2). A model trained from scratch has nothing of the kind, and sentences and
masks teach it slowly to tell shapes and motions.

Heads that are thrown away afterwards read the looks of an object, and what it
does, off each cell of the maps that SgMg fuses words into. The heads are
linear, and behind the projections: what a perceptron finds in the backbone's
own maps, the model does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from sgmg_jax import types
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels
from sgmg_jax.losses import means

# What `training.auxiliary.Task` has.
NAME = "cell_heads"
LABELS = ("cells",)
EVERY_FRAME = True
# Of this loss beside those of masks and boxes.
WEIGHT = 0.4
STRIDES = cell_labels.STRIDES
# A cell of the coarsest map holds more than one object.
_STRIDE_WEIGHTS = (1.0, 1.0, 0.4)
_BACKGROUND_WEIGHT = 0.15
MOTION_WEIGHT = 0.3
_NUM_CLASSES = [len(words) + 1 for words in cell_labels.LOOKS.values()]


class CellHeads(nn.Module):
  """A linear layer for the maps of each of `STRIDES`."""

  @nn.compact
  def __call__(self, maps):
    """Scores of maps float[..., C]: float[..., S], for the classes of each of
    `cell_labels.LOOKS` in turn, then logits of `cell_labels.MOTION`."""
    size = sum(_NUM_CLASSES) + len(cell_labels.MOTION)
    return [nn.Dense(size)(x) for x in maps]


def init(key: jax.Array, width: int) -> types.Params:
  """Draws `CellHeads` for maps of `width` channels."""
  maps = [jnp.zeros((1, width)) for _ in STRIDES]
  return CellHeads().init(key, maps)["params"]


def apply_heads(params: types.Params, video: types.VideoFeatures):
  """Scores the maps of a video with `CellHeads`."""
  return CellHeads().apply({"params": params}, video.levels[: len(STRIDES)])


def measure(
  scores: Sequence[jax.Array],
  labels: cell_labels.CellLabels,
) -> dict[str, means.Mean]:
  """Losses and accuracies over the cells that show an object.

  Args:
    scores: of `CellHeads`.
    labels: what they are compared with, of clips [B, T, ...].

  Returns:
    For every stride s `loss_looks_s` (cross entropies; the background takes
    part), `accuracy_<look>_s`, and for clips of more than a frame
    `loss_motion_s` (binary cross entropies, their sum over `MOTION`, each a
    mean over the cells whose object it is clearly true or false of),
    `recall_motion_s` and `precision_motion_s`.
  """
  mean = means.masked
  measured = {}
  for s, score, classes, motion in zip(STRIDES, scores, *labels, strict=True):
    classes = classes.astype(jnp.int32)
    shown = classes[..., 0] > 0

    *looks, deeds = jnp.split(score, np.cumsum(_NUM_CLASSES), -1)
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
      judged, true, found = motion >= 0, motion == 1, deeds > 0
      entropy = optax.sigmoid_binary_cross_entropy(deeds, true)
      each = jax.vmap(mean, in_axes=-1)(entropy, judged)
      measured[f"loss_motion_{s}"] = jax.tree.map(jnp.ravel, each)
      measured[f"recall_motion_{s}"] = mean(found, true)
      measured[f"precision_motion_{s}"] = mean(true, found & judged)
  return measured


def total_loss(
  measured: Mapping[str, Any], motion_weight: float = MOTION_WEIGHT
) -> Any:
  """Weighs the losses of `measure`: looks and, with its own weight, motion."""
  return sum(
    weight
    * (
      measured[f"loss_looks_{s}"]
      + motion_weight * measured.get(f"loss_motion_{s}", 0.0)
    )
    for s, weight in zip(STRIDES, _STRIDE_WEIGHTS)
  )


def losses(params, video, fused, decoded, batch):
  """Computes what `training.auxiliary.Task.losses` does."""
  del fused, decoded
  measured = measure(apply_heads(params, video), batch.labels["cells"])
  return WEIGHT * total_loss(measured), measured
