"""Fast SgMg: all expressions of a clip in one pass (SgMg section 3.5).

The clip is fused with the words of all its expressions at once (semantic
fusion and equation 4) and encoded once. What each expression needs of its own
is recovered behind the encoder (equation 5): by default its words gate the
encoded maps once more, and queries, patch kernels and masks are made of those.
The paper leaves the form of this decoupling open; a projection that starts
with zeros makes every SgMg a Fast SgMg that gives a single expression the very
same answer.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgmg_jax.model import vision_language_fusion

Words = vision_language_fusion.Words


def merge(words: Words, expression_valid, scale: str) -> Words:
  """One row of words for each clip, which sums over its expressions.

  The heads of all expressions become heads of that row, so attention to it is
  the sum of the attention to each: the softmax stays within the words of one
  expression, and the bias of the output counts once for each expression.

  Args:
    words: of B * E rows.
    expression_valid: bool[B, E]; others count neither in the sum nor in its
      scale.
    scale: of the sum of n expressions: "sum" (the paper's), "rsqrt", which
      divides by the root of n, or "mean".

  Returns:
    Words of B rows with E * M heads.
  """
  b, e = expression_valid.shape
  rows, c, m, length = words.keys.shape
  count = jnp.maximum(jnp.sum(expression_valid, 1, keepdims=True), 1)
  power = {"sum": 0.0, "rsqrt": -0.5, "mean": -1.0}[scale]
  factor = expression_valid * count.astype(jnp.float32) ** power
  factor = factor.astype(words.values.dtype)
  join = lambda x: x.reshape(b, e * m, *x.shape[2:])
  valid = words.valid
  if valid is not None:
    valid = join(jnp.broadcast_to(valid, (rows, m, length)))
  keys = words.keys.reshape(b, e, c, m, length)
  values = words.values * factor.reshape(rows, 1, 1, 1)
  bias = words.bias * factor.reshape(rows, 1)
  return Words(
    keys=jnp.moveaxis(keys, 1, 2).reshape(b, c, e * m, length),
    offsets=join(words.offsets),
    values=join(values),
    bias=jnp.sum(bias.reshape(b, e, c), 1),
    valid=valid,
  )


def fuse(fusion, visual, text, scale: str):
  """Multi-instance fusion without its spectra: the clip times the sum of what
  its tokens attend to in each expression.

  Args:
    fusion: the bound `VisionLanguageFusion`.
    visual: float[B, T, h, w, C].
    text: `TextFeatures` of B * E expressions; those without a valid word do
      not count.
    scale: see `merge`.

  Returns:
    float[B, T, h, w, C].
  """
  b, t, h, w, c = visual.shape
  asked = jnp.any(text.word_valid, 1).reshape(b, -1)
  words = merge(fusion.words(text), asked, scale)
  fuse_frame = lambda x: vision_language_fusion.fuse(x, words)
  if asked.shape[1] == 1:
    return fuse_frame(visual.reshape(b, -1, c)).reshape(visual.shape)
  # Frame by frame, for the weights of many expressions are larger than maps.
  frames = jnp.moveaxis(visual.reshape(b, t, h * w, c), 1, 0)
  out = jax.lax.map(fuse_frame, frames)
  return jnp.moveaxis(out, 0, 1).reshape(visual.shape)


def decouple(fusion, memory, text):
  """Encoded maps of each expression: M + M * attention(M, words).

  Args:
    fusion: the bound `VisionLanguageFusion` that decouples.
    memory: maps float[B, T, h, w, C].
    text: `TextFeatures` of B * E expressions.

  Returns:
    Maps float[B * E, T, h, w, C].
  """
  gate = lambda tokens, words: (
    tokens + vision_language_fusion.fuse(tokens, words)
  )
  words = fusion.words(text)
  decoupled = []
  for x in memory:
    tokens = x.reshape(len(x), -1, x.shape[-1])
    out = vision_language_fusion.for_each_expression(gate, tokens, words)
    decoupled.append(out.reshape(-1, *x.shape[1:]))
  return tuple(decoupled)


def decouple_queries(fusion, query_embed, text):
  """First queries of each expression: its sentence + attention(query, words).

  Args:
    fusion: as of `decouple`; its product is not used.
    query_embed: float[Q, C].
    text: `TextFeatures` of B * E expressions.

  Returns:
    float[B * E, Q, C].
  """
  words = fusion.words(text)
  queries = jnp.broadcast_to(
    query_embed.astype(words.keys.dtype), (len(words.bias), *query_embed.shape)
  )
  weights = vision_language_fusion.attention_weights(queries, words)
  attended = vision_language_fusion.weighted_sum(weights, words)
  return text.sentence[:, None] + attended
