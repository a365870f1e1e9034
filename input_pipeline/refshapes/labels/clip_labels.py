"""Labels of a batch of RefShapes clips, by the names of `Batch.labels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgmg_jax.input_pipeline import batch
from sgmg_jax.input_pipeline.refshapes import dataset, predicates
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels, role_labels


def make(
  names: Sequence[str],
  clips: Sequence[dataset.Clip],
  annotated: Sequence[np.ndarray],
  sentences: Sequence[Sequence[tuple[predicates.Meaning, int | None]]],
  bucket: tuple[int, int],
) -> dict[str, Any]:
  """Labels the cells of the padded maps; padding is background.

  Args:
    names: of the labels to make.
    clips: B of them.
    annotated: of each clip, its frames with ground truth.
    sentences: of each clip, the meaning and the object of its E sentences.
    bucket: (height, width), the padded size.

  Returns:
    "cells", a `cell_labels.CellLabels` of all frames, and "roles", for every
    stride int8[B * E, K, h, w, R] (see `role_labels.label_cells`).
  """
  makers = {
    "cells": lambda: _cells(clips, bucket),
    "roles": lambda: _roles(clips, annotated, sentences, bucket),
  }
  return {name: makers[name]() for name in names}


def _cells(clips, bucket) -> cell_labels.CellLabels:
  return cell_labels.stack(
    [
      cell_labels.label_cells(
        clip.facts, batch.pad(clip.masks, bucket, 2), cell_labels.STRIDES
      )
      for clip in clips
    ]
  )


def _roles(clips, annotated, sentences, bucket) -> tuple[np.ndarray, ...]:
  roles = []
  for clip, kept, said in zip(clips, annotated, sentences, strict=True):
    judge = predicates.Judge(clip.facts)
    roles.append(
      role_labels.label_cells(
        batch.pad(clip.masks[:, kept], bucket, 2),
        [role_labels.label_objects(judge, *sentence) for sentence in said],
        cell_labels.STRIDES,
      )
    )
  return tuple(map(np.concatenate, zip(*roles)))
