"""Labels of feature-map cells: the role of the object in a sentence.

Labels for training what follows once words are fused into the maps. A cell
shows the object that its central pixel shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgmg_jax.input_pipeline.refshapes import predicates
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels

# The object that is meant; those that look as it is said to; and the other
# object of a relation.
ROLES = ("referent", "candidate", "landmark")
# What they compare looks like the referent.
_SUPERLATIVES = ("most", "least")


def label_objects(
  judge: predicates.Judge, meaning: predicates.Meaning, referent: int | None
) -> np.ndarray:
  """Label the roles of a clip's objects in a sentence.

  Args:
    referent: the object that it identifies; None: it is false of all.

  Returns:
    int8[O + 1, R]: 1 where an object clearly has the role, 0 where it clearly
    has not, -1 for neither and where the sentence has no such role. Row 0 is
    the background's.
  """
  count = judge.facts.num_objects

  def of(part):
    verdict = judge.verdict(part)
    bits = 1 << np.arange(count)
    return np.select(
      [verdict.yes & bits > 0, verdict.no & bits > 0], [1, 0], -1
    )

  labels = np.full((count + 1, len(ROLES)), -1, np.int8)
  labels[:, 0] = 0
  if referent is not None:
    labels[referent + 1, 0] = 1
  looks = tuple(p for p in meaning if p.name in cell_labels.LOOKS)
  others = [p.among for p in meaning if p.among and p.name not in _SUPERLATIVES]
  for column, part in ((1, looks), (2, others[0] if others else ())):
    if part:
      labels[0, column] = 0
      labels[1:, column] = of(part)
  return labels


def label_cells(
  masks: np.ndarray, objects: Sequence[np.ndarray], strides: Sequence[int]
) -> tuple[np.ndarray, ...]:
  """Label the cells of maps with h = H / stride and w = W / stride.

  Args:
    masks: bool[O, T, H, W], visible pixels of each object, disjoint.
    objects: of E sentences, from `label_objects`.
    strides: divisors of the frame's sides.

  Returns:
    For every stride int8[E, T, h, w, R].
  """
  table = np.stack(objects)
  return tuple(table[:, cell_labels.shown_objects(masks, s)] for s in strides)
