"""Labels of a sentence's meaning: one per predicate of the grammar.

Labels for training a text encoder without clips. The vocabulary follows from
the lexicon and the looks of objects, so it is the same in every run and knows
rare predicates too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sgmg_jax.input_pipeline.refshapes import lexicon, predicates
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels

Predicate = predicates.Predicate
Meaning = predicates.Meaning

_LOOKS = [
  Predicate(name, word)
  for name, words in cell_labels.LOOKS.items()
  for word in words
]
# Predicates of one object, beside its looks.
_OWN = [
  *(Predicate("side", side) for side in lexicon.SIDE_TAILS),
  Predicate("middle"),
  *cell_labels.DEEDS,
]
# Those that have an `among`.
_COMPARED = [
  Predicate("most", "size"),
  Predicate("least", "size"),
  Predicate("most", "speed"),
  *(Predicate(*key) for key in lexicon.EXTREMES),
  *(Predicate(*key) for key in lexicon.ORDER_SUPERLATIVES),
  *(Predicate(*key) for key in lexicon.RELATION_TAILS),
]


def names(meaning: Meaning, prefix: str = "") -> Iterator[str]:
  """Names of a meaning's labels, in its order.

  "shape=star", "stays"; what is said of the other object of a relation or of
  the set that a superlative compares follows the outer predicate's name,
  "beside>colour=red": which side it is on is another label's matter.
  """
  for predicate in meaning:
    value = f"={predicate.value}" if predicate.value else ""
    yield f"{prefix}{predicate.name}{value}"
    yield from names(predicate.among, f"{prefix}{predicate.name}>")


def _vocabulary() -> tuple[str, ...]:
  vocabulary = list(names((*_LOOKS, *_OWN, *_COMPARED)))
  # Noun phrases name no size; to enter first one has to enter.
  nouns = tuple(look for look in _LOOKS if look.name != "size")
  for name in dict.fromkeys(predicate.name for predicate in _COMPARED):
    vocabulary += names(nouns, f"{name}>")
  return (*vocabulary, "least>enters", "most>leaves")


LABELS = _vocabulary()
_INDEX = {name: index for index, name in enumerate(LABELS)}
# Labels of an object's own shape, colour, texture and size.
LOOKS = {
  name: tuple(_INDEX[f"{name}={word}"] for word in words)
  for name, words in cell_labels.LOOKS.items()
}


def label(meaning: Meaning) -> np.ndarray:
  """bool[N] of N `LABELS`: those that the meaning has.

  Raises:
    KeyError: it has a predicate that no sentence of the grammar has.
  """
  labels = np.zeros(len(LABELS), bool)
  labels[[_INDEX[name] for name in names(meaning)]] = True
  return labels
