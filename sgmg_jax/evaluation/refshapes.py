"""J&F on RefShapes, also against sentences about other objects.

The control "swapped" scores each object against a sentence about another
object of the same clip: a model that segments the most striking object
whatever is said scores the same there, one that listens scores low.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np

from sgmg_jax import types
from sgmg_jax.evaluation import measures
from sgmg_jax.inference import clip_predictor
from sgmg_jax.input_pipeline.refshapes import dataset


def score(pred: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
  """(J, F) of one expression, means over frames, in percent.

  Args:
    pred: bool[T, H, W].
    truth: bool[T, H, W].
  """
  counts = measures.count_frames(pred, truth)
  j, f = counts.region.mean(), counts.boundary.mean()
  return 100.0 * float(j), 100.0 * float(f)


def evaluate(
  predict: clip_predictor.Predict,
  *,
  split: str,
  num_clips: int,
  num_frames: int,
  height: int,
  width: int,
  progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
  """Scores the first `num_clips` clips of a split.

  Args:
    predict: see `clip_predictor.Predict`.
    split: of RefShapes.
    num_clips: how many clips, all their sentences.
    num_frames, height, width: of each clip.
    progress: called with 1 after each clip.

  Returns:
    Percentages: `j`, `f`, `j_and_f` (means over sentences), `swapped` (J&F
    against the sentence of another object), `j_and_f/<kind>` per kind of
    sentence; and the number of `sentences`.
  """
  found = collections.defaultdict(list)
  for index in range(num_clips):
    clip = dataset.generate_clip(
      split, index, num_frames=num_frames, height=height, width=width
    )
    masks = predict(clip.frames, [e.text for e in clip.expressions])
    others = dataset.swapped_expressions(clip.expressions)
    for i, expression in enumerate(clip.expressions):
      truth = clip.masks[expression.object_index]
      j, f = score(masks[i], truth)
      found["j"].append(j)
      found["f"].append(f)
      found["j_and_f"].append((j + f) / 2)
      found[f"j_and_f/{expression.kind}"].append((j + f) / 2)
      if others[i] is not None:
        found["swapped"].append(sum(score(masks[others[i]], truth)) / 2)
    if progress:
      progress(1)
  results = {name: float(np.mean(found[name])) for name in sorted(found)}
  return results | {"sentences": len(found["j"])}


class Evaluator:
  """Scores parameters during training, always on the clips that `evaluate`
  is given here."""

  def __init__(self, predictor: clip_predictor.ClipPredictor, **clips: Any):
    self._predictor, self._clips = predictor, clips

  def __call__(self, params: types.Params) -> dict[str, float]:
    """Scores a model's parameters, see `evaluate`."""
    return evaluate(self._predictor.with_params(params), **self._clips)

  def describe(self, scores: dict[str, float]) -> str:
    """Sums up the scores for the log."""
    return f"J&F {scores['j_and_f']:.1f}, swapped {scores['swapped']:.1f}"
