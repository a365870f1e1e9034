"""Labels of feature-map cells: looks and motion of the object shown.

Labels for training a video encoder without sentences. A cell shows the
object that its central pixel shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sgmg_jax.input_pipeline.refshapes import facts as facts_lib
from sgmg_jax.input_pipeline.refshapes import lexicon, predicates
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

# Of the feature maps whose cells have labels; divisors of padded sides.
STRIDES = (8, 16, 32)
# Looks in the order of the classes' last axis, each with its words; class k
# is word k - 1, class 0 the background.
LOOKS = {
  "shape": scene_lib.SHAPES,
  "colour": tuple(scene_lib.COLOURS),
  "texture": scene_lib.TEXTURES,
  "size": tuple(scene_lib.SIZES),
}
# What sentences say that an object does, whatever the others do.
DEEDS = (
  *(predicates.Predicate("starts", side) for side in lexicon.START_CLAUSES),
  *(predicates.Predicate("ends", side) for side in lexicon.END_CLAUSES),
  *(predicates.Predicate("heads", heading) for heading in lexicon.DIRECTIONS),
  *(predicates.Predicate(*key) for key in lexicon.MOTION_PHRASES),
  *(predicates.Predicate(name) for name in lexicon.ORDER_CLAUSES),
)
# Entries of the motion's last axis.
MOTION = (
  *DEEDS,
  predicates.Predicate("most", "speed"),
  *(predicates.Predicate("passes", side) for side in ("front", "behind")),
)


class CellLabels(NamedTuple):
  """Labels of the cells of some maps, for every stride.

  Attributes:
    classes: int8[..., h, w, 4], see `LOOKS`.
    motion: int8[..., h, w, P], of each of `MOTION` whether it is clearly true
      (1), clearly false (0) or neither (-1) of the object; -1 in the
      background.
  """

  classes: tuple[np.ndarray, ...]
  motion: tuple[np.ndarray, ...]


def label_cells(
  facts: facts_lib.Facts, masks: np.ndarray, strides: Sequence[int]
) -> CellLabels:
  """Label the cells of maps with h = H / stride and w = W / stride.

  Args:
    masks: bool[O, T, H, W], visible pixels of each object, disjoint.
    strides: divisors of the frame's sides.

  Returns:
    Labels of T frames.
  """
  looks, motion = _looks(facts), _motion(facts)
  shown = [shown_objects(masks, s) for s in strides]
  return CellLabels(
    tuple(looks[x] for x in shown), tuple(motion[x] for x in shown)
  )


def shown_objects(masks: np.ndarray, stride: int) -> np.ndarray:
  """Number the object that each cell shows, from 1: int8[T, h, w] of masks
  bool[O, T, H, W]; 0 for the background."""
  number = np.arange(1, len(masks) + 1, dtype=np.int8)
  centres = masks[:, :, stride // 2 :: stride, stride // 2 :: stride]
  # Masks are disjoint: the sum is the one object's number, or 0.
  return np.tensordot(number, centres, 1)


def stack(labels: Sequence[CellLabels]) -> CellLabels:
  """Stack the labels of clips along a new first axis."""
  return CellLabels(
    *(tuple(map(np.stack, zip(*kind, strict=True))) for kind in zip(*labels))
  )


def _looks(facts: facts_lib.Facts) -> np.ndarray:
  """int8[O + 1, 4]; row 0 is the background's."""
  return np.array(
    [[0] * len(LOOKS)]
    + [
      [1 + words.index(getattr(body, name)) for name, words in LOOKS.items()]
      for body in facts.bodies
    ],
    np.int8,
  )


def _motion(facts: facts_lib.Facts) -> np.ndarray:
  """int8[O + 1, P]; row 0 is the background's."""
  judge = predicates.Judge(facts)
  verdicts = [judge.verdict((predicate,)) for predicate in MOTION]
  bits = 1 << np.arange(facts.num_objects)[:, None]
  yes = np.array([v.yes for v in verdicts]) & bits > 0
  no = np.array([v.no for v in verdicts]) & bits > 0
  own = np.select([yes, no], [1, 0], -1).astype(np.int8)
  return np.concatenate([np.full_like(own[:1], -1), own])
