"""Pre-training of the text encoder: predict the meaning of sentences.

The paper starts from RoBERTa. A text encoder trained from scratch learns from
masks alone, and words that masks rarely hang on (the shapes) come to mean all
the same. So it learns the meanings of sentences first: linear heads that are
thrown away afterwards read a sentence's predicates off its words and off its
pooled feature.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from sgmg_jax import precision
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.input_pipeline.refshapes.labels import (
  meaning_labels,
  sentence_batches,
)
from sgmg_jax.model import sgmg, variants
from sgmg_jax.pretraining import phases
from sgmg_jax.training import data_parallel, run_tokenizer

PART = "text_encoder"
# Of the pooled feature's loss, beside the words': it has little room.
_POOLED_WEIGHT = 0.5


class TextBatch(NamedTuple):
  """Tokens int32[B, L], token_valid bool[B, L], and the labels bool[B, N] of
  `meaning_labels`."""

  tokens: np.ndarray
  token_valid: np.ndarray
  labels: np.ndarray


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
  total: data_parallel.Total = lambda x: x,
) -> dict[str, jax.Array]:
  """Losses and accuracies.

  Args:
    words, pooled: scores of `MeaningHeads`, float[B, N].
    labels: bool[B, N].
    total: sums a count over the devices that share the batch.

  Returns:
    `loss_words` and `loss_pooled`, binary cross entropies, summed over the
    labels; `accuracy_words` and `accuracy_pooled`, the share of sentences with
    every label right; and for each of `meaning_labels.LOOKS`
    `accuracy_<look>`, of the sentences that name the object's <look> the share
    whose words' scores give it and no other. This device's share: a sum over
    devices gives the mean over the batch.
  """
  measured = {}
  every = jnp.ones(len(labels))
  mean = functools.partial(data_parallel.masked_mean, total=total)
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


def make_task(
  config: ConfigDict, variant: variants.Variant, folder: pathlib.Path
) -> phases.Task:
  """The task of `configs/refshapes_text.py`.

  Args:
    config: of the run.
    variant: the model's sizes.
    folder: of the run, keeps its tokenizer.

  Raises:
    UserError: see `run_tokenizer.get_tokenizer`.
  """
  model = sgmg.SgMg(variant, precision=precision.check(config.precision))
  tokenizer = run_tokenizer.get_tokenizer(
    folder / "tokenizer",
    variant,
    source=config.tokenizer.source,
    vocab_clips=config.tokenizer.vocab_clips,
  )

  @jax.jit
  def init(key):
    keys = jax.random.split(key)
    tokens, valid = jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool)
    encoded, variables = model.init_with_output(
      keys[0], tokens, valid, method=_encode
    )
    heads = MeaningHeads().init(keys[1], *encoded, valid)
    return {PART: variables["params"], "heads": heads["params"]}

  def objective(params, batch, rngs, total):
    encoded = model.apply(
      {"params": params[PART]},
      batch.tokens,
      batch.token_valid,
      train=True,
      rngs=rngs,
      method=_encode,
    )
    scores = MeaningHeads().apply(
      {"params": params["heads"]}, *encoded, batch.token_valid
    )
    measured = measure(*scores, batch.labels, total)
    pooled = _POOLED_WEIGHT * measured["loss_pooled"]
    return measured["loss_words"] + pooled, measured

  truncations = run_tokenizer.TruncationCounter()

  def batches(phase, start) -> Iterator[TextBatch]:
    spec = sentence_batches.SentenceBatchSpec(
      **config.data,
      seed=config.seed,
      batch_size=phase.batch_size,
      num_frames=phase.num_frames,
    )
    made = sentence_batches.batches(spec, start=start, **config.loader)
    with contextlib.closing(made):
      for batch in made:
        encoded = tokenizer_lib.encode(
          tokenizer, batch.texts, config.tokenizer.max_tokens, truncations
        )
        yield TextBatch(*encoded, batch.labels)

  return phases.Task(
    part=PART,
    params=init(jax.random.key(config.seed)),
    objective=objective,
    batches=batches,
    progress=_progress,
    tokenizer=tokenizer,
  )


def _encode(model, tokens, valid, *, train=False):
  # Not `encode_text`: its projections are no part of the text encoder.
  return model.text_encoder(tokens, valid, train=train)


def _progress(means):
  shares = [f"all {100 * means['accuracy_words']:.0f} %"]
  for name in meaning_labels.LOOKS:
    shares.append(f"{name} {100 * means[f'accuracy_{name}']:.0f} %")
  return f"sentences right: {', '.join(shares)}"
