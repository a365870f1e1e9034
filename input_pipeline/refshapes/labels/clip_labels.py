"""Labels of a RefShapes clip, by the names of `Batch.labels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgmg_jax.input_pipeline import batch
from sgmg_jax.input_pipeline.refshapes import dataset, predicates
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels, role_labels


def make(
  names: Sequence[str],
  clip: dataset.Clip,
  annotated: np.ndarray,
  sentences: Sequence[tuple[predicates.Meaning, int | None]],
  bucket: tuple[int, int],
) -> dict[str, Any]:
  """Label the cells of the padded maps; padding is background.

  Args:
    annotated: int[K], its frames with ground truth.
    sentences: the meaning and the object of each of E sentences.
    bucket: (height, width), the padded size.

  Returns:
    "cells", a `cell_labels.CellLabels` of all frames with a first axis of 1,
    and "roles", for every stride int8[E, K, h, w, R] (see
    `role_labels.label_cells`).
  """
  masks = batch.pad(clip.masks, bucket, 2)

  def cells():
    found = cell_labels.label_cells(clip.facts, masks, cell_labels.STRIDES)
    return cell_labels.stack([found])

  def roles():
    judge = predicates.Judge(clip.facts)
    said = [role_labels.label_objects(judge, *each) for each in sentences]
    return role_labels.label_cells(
      masks[:, annotated], said, cell_labels.STRIDES
    )

  makers = {"cells": cells, "roles": roles}
  return {name: makers[name]() for name in names}
