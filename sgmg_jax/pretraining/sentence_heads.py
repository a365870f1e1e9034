"""Loss of the text encoder's pre-training: predict the meaning of sentences.

The paper starts from RoBERTa. A text encoder trained from scratch learns from
masks alone, and words that masks rarely hang on (the shapes) come to mean all
the same. So it learns the meanings of sentences first: linear heads that are
thrown away afterwards read a sentence's predicates off its words and off its
pooled feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from sgmg_jax.input_pipeline.refshapes.labels import meaning_labels
from sgmg_jax.losses import means

# Of the pooled feature's loss, beside the words': it has little room.
_POOLED_WEIGHT = 0.5


class MeaningHeads(nn.Module):
  """Linear layers on the mean of the words and on the pooled feature."""

  @nn.compact
  def __call__(self, hidden, pooled, token_valid):
    """Scores (float[B, N], float[B, N]) of the words float[B, L, D] and the
    pooled feature float[B, D], for each of `meaning_labels.LABELS`."""
    valid = token_valid[..., None].astype(hidden.dtype)
    mean = jnp.sum(hidden * valid, 1) / jnp.sum(valid, 1)
    # Most labels are absent: to begin with this saves learning that.
    head = lambda name: nn.Dense(
      len(meaning_labels.LABELS),
      bias_init=nn.initializers.constant(-3.0),
      name=name,
    )
    return head("words")(mean), head("pooled")(pooled)


def measure(
  words: jax.Array,
  pooled: jax.Array,
  labels: jax.Array,
) -> dict[str, means.Mean]:
  """Losses and accuracies.

  Args:
    words, pooled: scores of `MeaningHeads`, float[B, N].
    labels: bool[B, N].

  Returns:
    `loss_words` and `loss_pooled`, binary cross entropies, summed over the
    labels; `accuracy_words` and `accuracy_pooled`, the share of sentences with
    every label right; and for each of `meaning_labels.LOOKS`
    `accuracy_<look>`, of the sentences that name the object's <look> the share
    whose words' scores give it and no other.
  """
  measured = {}
  every = jnp.ones(len(labels))
  mean = means.masked
  for name, scores in (("words", words), ("pooled", pooled)):
    entropy = optax.sigmoid_binary_cross_entropy(scores, labels)
    measured[f"loss_{name}"] = mean(jnp.sum(entropy, -1), every)
    right = jnp.all((scores > 0) == labels, -1)
    measured[f"accuracy_{name}"] = mean(right, every)
  right = (words > 0) == labels
  for name, columns in meaning_labels.LOOKS.items():
    columns = np.array(columns)
    named = jnp.any(labels[:, columns], -1)
    measured[f"accuracy_{name}"] = mean(jnp.all(right[:, columns], -1), named)
  return measured


def total_loss(measured: Mapping[str, Any]) -> Any:
  """Weighs the losses of `measure` into the one to minimise."""
  return measured["loss_words"] + _POOLED_WEIGHT * measured["loss_pooled"]
