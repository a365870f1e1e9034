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

  bool[T] each: whether the predicted and the true mask have any pixel.
  """
  return float(np.mean(pred_shown == truth_shown))


def no_target_correct(pred_shown: np.ndarray, truth_shown: np.ndarray) -> float:
  """1 if nothing is predicted in any frame, else 0; NaN if there is a target.

  The mean over sentences is N-acc; args as of `accuracy`.
  """
  return np.nan if truth_shown.any() else float(not pred_shown.any())


def target_correct(pred_shown: np.ndarray, truth_shown: np.ndarray) -> float:
  """1 if anything is predicted in any frame, else 0; NaN without a target.

  The mean over sentences is T-acc; where the mask lies does not count.
  """
  return float(pred_shown.any()) if truth_shown.any() else np.nan
