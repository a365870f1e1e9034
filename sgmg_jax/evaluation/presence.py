"""Whether something is predicted where, and only where, there is something.

MeViS has sentences about several objects, whose masks are united, and since
version 2 sentences about none. Ding et al., "MeViS: A Multi-Modal Dataset for
Referring Motion Expression Video Segmentation", TPAMI 2025; N-acc and T-acc
are those of Liu et al., "GRES: Generalized Referring Expression Segmentation",
CVPR 2023, with a video in place of an image.
"""

from __future__ import annotations

import numpy as np


def accuracy(pred_shown: np.ndarray, truth_shown: np.ndarray) -> float:
  """Share of frames that rightly have a mask, or rightly have none.

  Args:
    pred_shown: bool[T], whether the predicted mask has any pixel.
    truth_shown: bool[T], whether the true one has.
  """
  return float(np.mean(pred_shown == truth_shown))


def no_target_correct(pred_shown: np.ndarray, truth_shown: np.ndarray) -> float:
  """Of a sentence without a target: 1 if nothing is predicted in any frame.

  The mean over sentences is N-acc.

  Args: as in `accuracy`.

  Returns:
    1 or 0; NaN if the sentence has a target.
  """
  return np.nan if truth_shown.any() else float(not pred_shown.any())


def target_correct(pred_shown: np.ndarray, truth_shown: np.ndarray) -> float:
  """Of a sentence with a target: 1 if anything is predicted in any frame.

  The mean over sentences is T-acc; where the mask lies does not count.

  Args: as in `accuracy`.

  Returns:
    1 or 0; NaN if the sentence has no target.
  """
  return float(pred_shown.any()) if truth_shown.any() else np.nan
