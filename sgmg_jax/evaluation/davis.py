"""The unsupervised protocol of Ref-DAVIS17 on label maps.

Every proposal is compared with every object, the pairs of the best assignment
count. Caelles et al., "The 2019 DAVIS Challenge on VOS: Unsupervised
Multi-Object Segmentation"; details as in davis2017-evaluation. The number
that papers report is the mean of the four annotators' (`mean_results`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import measures, statistics

VOID = 255
MAX_PROPOSALS = 20


@dataclasses.dataclass(frozen=True)
class SequenceResult:
  """J and F of the assigned pairs of one sequence.

  Attributes:
    region: float64[N, T], J of each pair, in the order of proposals.
    boundary: float64[N, T], F.
    proposals: int[N], row of each pair's proposal, rising.
    objects: int[N], the object that it was assigned.
  """

  region: np.ndarray
  boundary: np.ndarray
  proposals: np.ndarray
  objects: np.ndarray


def pair_scores(
  pred: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """J and F of every proposal with every object.

  Args:
    pred: integer[T, H, W], proposals 1 to M, 0 elsewhere.
    truth: integer[T, H, W], objects 1 to N and `VOID`. N is the largest
      number in the first frame: an object that appears later under a larger
      number is background, as the benchmark has it.

  Returns:
    (J, F), float64[max(M, N), N, T]: proposals that lack are empty.

  Raises:
    UserError: shapes differ, or too many proposals.
  """
  if pred.shape != truth.shape:
    raise UserError(
      f"masks of {list(pred.shape)}: expected {list(truth.shape)}, as the "
      "ground truth (frames, height, width)"
    )
  num_objects = int(np.where(truth[0] == VOID, 0, truth[0]).max())
  num_proposals = max(int(pred.max()), num_objects)
  if num_proposals > MAX_PROPOSALS:
    raise UserError(
      f"{num_proposals} objects in the masks: the benchmark admits "
      f"{MAX_PROPOSALS}"
    )
  region = np.zeros((num_proposals, num_objects, len(truth)))
  boundary = np.zeros_like(region)
  for t, (p, g) in enumerate(zip(pred, truth)):
    seen = g != VOID
    proposals = [(p == k) & seen for k in range(1, num_proposals + 1)]
    objects = [g == k for k in range(1, num_objects + 1)]
    counts = measures.count_pairs(proposals, objects)
    region[..., t], boundary[..., t] = counts.region, counts.boundary
  return region, boundary


def evaluate_sequence(pred: np.ndarray, truth: np.ndarray) -> SequenceResult:
  """Assigns proposals to objects by the largest mean of J and F.

  Args, Raises: as `pair_scores`.
  """
  region, boundary = pair_scores(pred, truth)
  score = (region.mean(-1) + boundary.mean(-1)) / 2
  rows, columns = scipy.optimize.linear_sum_assignment(-score)
  return SequenceResult(
    region[rows, columns], boundary[rows, columns], rows, columns + 1
  )


def evaluate_same_objects(
  pred: np.ndarray, truth: np.ndarray
) -> SequenceResult:
  """Task "semi-supervised": objects are compared with those of their number.

  The first and the last frame do not count, but void pixels do, as background.

  Args: as `pair_scores`, of three frames or more.

  Raises:
    UserError: as `pair_scores`; or a prediction of an object that is not there.
  """
  if len(truth) < 3:
    raise UserError(f"{len(truth)} frames: expected 3 or more")
  truth = np.where(truth == VOID, 0, truth)
  # Those of the first frame, though it does not count itself.
  num_objects = int(truth[0].max())
  if pred.max() > num_objects:
    raise UserError(
      f"object {pred.max()} in the masks: the ground truth has {num_objects}"
    )
  numbers = np.arange(1, num_objects + 1)[:, None, None, None]
  masks = pred[1:-1] == numbers, truth[1:-1] == numbers
  counts = measures.count_frames(*masks)
  return SequenceResult(
    counts.region,
    counts.boundary,
    np.arange(num_objects),
    np.arange(num_objects) + 1,
  )


def results(sequences: Sequence[SequenceResult]) -> dict[str, float]:
  """The benchmark's seven numbers over all objects of all sequences."""
  out = {}
  for name, field in (("J", "region"), ("F", "boundary")):
    rows = [
      statistics.over_frames(values)
      for sequence in sequences
      for values in getattr(sequence, field)
    ]
    for statistic in statistics.Statistics._fields:
      mean = np.mean([getattr(row, statistic) for row in rows])
      out[f"{name}-{statistic.capitalize()}"] = float(mean)
  return {"J&F-Mean": (out["J-Mean"] + out["F-Mean"]) / 2, **out}


def mean_results(
  annotators: Sequence[Mapping[str, float]],
) -> dict[str, float]:
  """Mean of the annotators' numbers: what papers report of Ref-DAVIS17."""
  return {
    name: float(np.mean([results[name] for results in annotators]))
    for name in annotators[0]
  }


def merge_expressions(probabilities: np.ndarray) -> np.ndarray:
  """Label map of one annotator from each object's mask probabilities.

  Below 0.5 nothing is foreground (0.5 itself is, unlike in Ref-YouTube-VOS);
  where several objects are, the most probable wins, among equals the first.

  Args:
    probabilities: float[N, ..., H, W], objects in the order of expressions.

  Returns:
    uint8[..., H, W]: 0, or 1 + the object's index (not its number in the
    data set).
  """
  kept = np.where(probabilities < 0.5, 0, probabilities)
  background = np.full((1, *kept.shape[1:]), 0.1, kept.dtype)
  return np.concatenate([background, kept]).argmax(0).astype(np.uint8)
