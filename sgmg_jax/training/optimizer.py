"""AdamW or Muon with parameter groups and global-norm clipping.

SgMg (ICCV 2023), section 4.2: AdamW with betas (0.9, 0.999), weight decay on
everything, gradients clipped to a global norm of 0.1, learning rates of the
visual and the text encoder scaled against the rest.

Muon (Jordan et al., 2024) makes every matrix's step orthogonal. A model that
starts from nothing needs half the steps with it: the video side of `mini`
named 30 % of the shapes after 400 steps, with AdamW 16 % (chance is 10 %).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import jax
import optax

from sgmg_jax import types
from sgmg_jax.errors import UserError

Array = types.Array
Params = types.Params

_TABLES = re.compile("table|embed")
# (pattern, multiplier of the learning rate); None freezes.
Group = tuple[str, float | None]


def _name(path) -> str:
  return "/".join(str(getattr(key, "key", key)) for key in path)


def group_labels(params: Params, groups: Sequence[Group]) -> Params:
  """The index, as text, of each parameter's group: the first whose pattern
  matches its whole name (`backbone_0/body/...`).

  Raises:
    UserError: a parameter no pattern matches, or a pattern that is no
      parameter's first match.
  """
  patterns = [re.compile(pattern) for pattern, _ in groups]
  used = set()

  def label(path, _):
    name = _name(path)
    for i, pattern in enumerate(patterns):
      if pattern.fullmatch(name):
        used.add(i)
        return str(i)
    raise UserError(f"optimizer.groups: no pattern matches parameter {name!r}")

  labels = jax.tree_util.tree_map_with_path(label, params)
  for i, pattern in enumerate(patterns):
    if i not in used:
      raise UserError(
        f"optimizer.groups: pattern {pattern.pattern!r} selects no parameter"
      )
  return labels


def trainable_mask(params: Params, groups: Sequence[Group]) -> Params:
  """A tree of bool: False for the parameters of frozen groups."""
  return jax.tree.map(
    lambda label: groups[int(label)][1] is not None,
    group_labels(params, groups),
  )


def _matrices(params: Params, *, heads: Sequence[str]) -> Params:
  """Dimensions of the hidden layers' matrices, (inputs, output) each; None
  for all others: vectors, tables, embeddings, and the last layers, whose
  outputs mean something."""

  def dimensions(path, x):
    name = _name(path)
    last = name.partition("/")[0] in heads
    if x.ndim < 2 or last or _TABLES.search(name):
      return None
    inputs = tuple(range(x.ndim - 1))
    return optax.contrib.MuonDimensionNumbers(inputs, x.ndim - 1)

  return jax.tree_util.tree_map_with_path(dimensions, params)


def make_optimizer(
  params: Params,
  schedule: optax.Schedule,
  *,
  groups: Sequence[Group],
  weight_decay: float,
  grad_clip: float,
  name: str = "adamw",
  heads: Sequence[str] = (),
) -> optax.GradientTransformation:
  """The optimizer that the module describes.

  Args:
    params: the parameters, or their shapes; only names are read.
    groups: (regular expression, learning-rate multiplier or None to freeze);
      the first match wins and every parameter needs one.
    weight_decay: on every trained parameter, biases and norms included.
    grad_clip: largest global norm of all trained gradients.
    name: "adamw", or "muon" for the matrices (see `_matrices`) with AdamW at
      half the learning rate for the rest.
    heads: top-level modules, beside the model's, that are last layers.

  Raises:
    UserError: no such optimizer, or see `group_labels`.
  """
  if name not in ("adamw", "muon"):
    raise UserError(f"optimizer.name: expected adamw or muon, got {name!r}")

  def group_update(multiplier):
    if multiplier is None:
      return optax.set_to_zero()
    rate = lambda step: multiplier * schedule(step)
    if name == "muon":
      return optax.contrib.muon(
        rate,
        weight_decay=weight_decay,
        # Steps as large as AdamW's, so that learning rates are alike.
        consistent_rms=0.2,
        muon_weight_dimension_numbers=functools.partial(_matrices, heads=heads),
        adam_b2=0.999,
        adam_weight_decay=weight_decay,
        adam_learning_rate=lambda step: 0.5 * rate(step),
      )
    return optax.chain(
      optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
      optax.add_decayed_weights(weight_decay),
      optax.scale_by_learning_rate(rate),
    )

  return optax.chain(
    # Before the split: the norm is that of the whole model.
    optax.clip_by_global_norm(grad_clip),
    optax.partition(
      {str(i): group_update(value) for i, (_, value) in enumerate(groups)},
      group_labels(params, groups),
    ),
  )
