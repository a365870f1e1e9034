"""Splits that are predicted, with and without public ground truth."""

import pickle

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import truth as truth_lib


def test_the_first_videos_alone(miniatures, tmp_path):
  root = miniatures.make_own(tmp_path, valid=2)
  whole = truth_lib.Truth("own", root, "valid")
  part = truth_lib.Truth("own", root, "valid", num_videos=1)
  videos = {e.video for e in part.source.expressions}
  assert len(videos) == 1 and videos < {
    e.video for e in whole.source.expressions
  }
  again = pickle.loads(pickle.dumps(part))
  assert again.source.expressions == part.source.expressions


def test_sentences_are_there_without_ground_truth(miniatures, tmp_path):
  root = miniatures.make_refer_ytvos(tmp_path)
  truth = truth_lib.Truth("refer_ytvos", root, "valid")
  assert truth.sentences.expressions and not truth.is_public
  with pytest.raises(UserError, match="no ground truth"):
    truth.source  # noqa: B018
  assert truth_lib.Truth("refer_ytvos", root, "train").is_public
