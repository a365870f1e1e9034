"""Auxiliary loss: classify each cell's role in the sentence.

Masks and boxes teach a sentence's meaning through one query, slowly where it
takes two steps: "the heart left of the star" asks for the star first. Linear
heads, thrown away afterwards, read the roles off each cell of the maps that
words were fused into (not yet the referent: that cannot be told locally) and of
the transformer's memory.

Relations' landmarks have a mean of their own, and weigh more: in a mean with
the sets of superlatives, which look like the referent, the memory of
`refshapes-mini` told a landmark from another object no better than by chance
after 2,400 steps (right for 0.48 to 0.66 of the pairs); 3,200 steps later, with
landmarks weighted so, for 0.92 to 0.96 of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from sgmg_jax import types
from sgmg_jax.input_pipeline.refshapes.labels import role_labels
from sgmg_jax.losses import means
from sgmg_jax.pretraining import cell_heads

# What `training.auxiliary.Task` has.
NAME = "role_heads"
LABELS = ("cells", "roles")
EVERY_FRAME = False
# Of this loss beside those of masks and boxes.
WEIGHT = 0.8
_BACKGROUND_WEIGHT = 0.15
_STRIDE_WEIGHTS = dict(zip(cell_heads.STRIDES, (1.0, 1.0, 0.5), strict=True))
_ROLE_WEIGHTS = {"referent": 1.0, "candidate": 1.0, "landmark": 2.0}
# Roles that the heads of each kind of map predict.
_PREDICTED = {"fused": role_labels.ROLES[1:], "memory": role_labels.ROLES}


class RoleHeads(nn.Module):
  """A linear layer for each kind of maps and each of `cell_heads.STRIDES`."""

  @nn.compact
  def __call__(self, fused, memory):
    """Logits of the roles in `_PREDICTED` of maps float[..., C]: for each
    kind a list of float[..., R]."""
    maps = {"fused": fused, "memory": memory}
    return {
      kind: [
        nn.Dense(len(roles), name=f"{kind}_{s}")(x)
        for s, x in zip(cell_heads.STRIDES, maps[kind])
      ]
      for kind, roles in _PREDICTED.items()
    }


def init(key: jax.Array, width: int) -> types.Params:
  """Draws `RoleHeads` for maps of `width` channels."""
  maps = [jnp.zeros((1, width)) for _ in cell_heads.STRIDES]
  return RoleHeads().init(key, maps, maps)["params"]


def apply_heads(params: types.Params, fused, decoded: types.DecoderOutput):
  """Scores fused maps and the decoder's memory with `RoleHeads`."""
  return RoleHeads().apply({"params": params}, fused, decoded.memory)


def shown_cells(batch: types.Batch) -> list[jax.Array]:
  """For every stride bool[B * E, K, h, w]: the cells that show an object, of
  the annotated frames, as often as a clip has expressions."""
  count = batch.tokens.shape[0] // batch.frames.shape[0]
  shown = [x[..., 0] > 0 for x in batch.labels["cells"].classes]
  if batch.annotated is not None:
    shown = types.take_frames(shown, batch.annotated)
  return [jnp.repeat(x, count, 0) for x in shown]


def measure(
  scores: Mapping[str, Sequence[jax.Array]],
  labels: Sequence[jax.Array],
  shown: Sequence[jax.Array],
) -> dict[str, means.Mean]:
  """Losses, and how well the referent is known.

  Args:
    scores: of `RoleHeads`.
    labels: for every stride int8[N, K, h, w, R], see
      `role_labels.label_cells`.
    shown: for every stride bool[N, K, h, w], the cells that show an object.

  Returns:
    For every kind of map, its roles and every stride s
    `loss_<kind>_<role>_<s>`: the mean binary cross entropy over the cells that
    show an object which clearly has the role or has not, and a part of that
    over the background. `accuracy_referent_<s>`, of the memory.
  """
  mean = means.masked
  measured = {}
  for kind in scores:
    roles = _PREDICTED[kind]
    columns = [role_labels.ROLES.index(role) for role in roles]
    for s, logits, label, object_ in zip(
      cell_heads.STRIDES, scores[kind], labels, shown, strict=True
    ):
      label = label[..., jnp.array(columns)]
      entropy = optax.sigmoid_binary_cross_entropy(
        logits.astype(jnp.float32), (label == 1).astype(jnp.float32)
      )
      for k, role in enumerate(roles):
        known, each = label[..., k] >= 0, entropy[..., k]
        measured[f"loss_{kind}_{role}_{s}"] = mean(
          each, known & object_
        ) + _BACKGROUND_WEIGHT * mean(each, known & ~object_)
      if roles[0] == "referent":
        right = (logits[..., 0] > 0) == (label[..., 0] == 1)
        measured[f"accuracy_referent_{s}"] = mean(right, object_)
  return measured


def total_loss(measured: Mapping[str, Any]) -> Any:
  """Weighs the losses of `measure` into the one to minimise."""
  return sum(
    weight * _ROLE_WEIGHTS[role] * measured[f"loss_{kind}_{role}_{s}"]
    for s, weight in _STRIDE_WEIGHTS.items()
    for kind, roles in _PREDICTED.items()
    for role in roles
    if f"loss_{kind}_{role}_{s}" in measured
  )


def losses(params, video, fused, decoded, batch):
  """Computes what `training.auxiliary.Task.losses` does.

  Fast SgMg's fused maps have the words of all expressions in them; only what
  is decoupled from each other is scored.
  """
  del video
  scores = apply_heads(params, fused, decoded)
  if len(fused[0]) != len(batch.tokens):
    del scores["fused"]
  labels, shown = batch.labels["roles"], shown_cells(batch)
  if batch.expression_valid is not None:
    valid = batch.expression_valid.reshape(-1, 1, 1, 1)
    labels = [jnp.where(valid[..., None], x, -1) for x in labels]
    shown = [x & valid for x in shown]
  measured = measure(scores, labels, shown)
  return WEIGHT * total_loss(measured), measured
