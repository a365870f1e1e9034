"""RefShapes: kinds of sentences and the control with swapped ones."""

import numpy as np
import pytest

from sgmg_jax.evaluation import mask_writer, protocols
from sgmg_jax.evaluation import truth as truth_lib

OPTIONS = dict(
  num_clips=3, num_frames=3, height=64, width=64, expressions_per_clip=0
)


@pytest.fixture(scope="module")
def truth():
  return truth_lib.Truth("refshapes", None, "val", sorted(OPTIONS.items()))


def score(truth, folder, masks_of):
  """Scores the masks that `masks_of` gives for (clip, number of sentence)."""
  for e in truth.source.expressions:
    clip = truth.source.clip(e.video)
    names = truth.source.video(e.video).frames
    masks = masks_of(clip, int(e.id))
    mask_writer.write_masks(folder / e.video / e.id, names, masks)
  return protocols.score(truth, folder, processes=1)


def own(clip, number):
  return clip.masks[clip.expressions[number].object_index]


def test_perfect_masks_score_1_and_swapped_ones_do_not(truth, tmp_path):
  found = score(truth, tmp_path, own)
  assert [found.numbers[k] for k in ("J&F", "J", "F")] == [1, 1, 1]
  assert found.numbers["swapped"] < 0.45
  kinds = [k for k in found.numbers if k.startswith("J&F ")]
  assert len(kinds) >= 4 and all(found.numbers[k] == 1 for k in kinds)
  assert len(found.rows) == len(truth.source.expressions)


def test_a_model_that_does_not_listen_scores_the_same_swapped(truth, tmp_path):
  found = score(truth, tmp_path, lambda clip, number: clip.masks[0])
  assert found.numbers["J&F"] < 0.7
  assert found.numbers["swapped"] == pytest.approx(found.numbers["J&F"])
  assert all("swapped" in row.values for row in found.rows)


def test_kinds_are_those_of_the_clip(truth, tmp_path):
  def only_place(clip, number):
    right = clip.expressions[number].kind == "place"
    return own(clip, number) if right else np.zeros_like(clip.masks[0])

  found = score(truth, tmp_path, only_place)
  assert found.numbers["J&F place"] == 1
  assert found.numbers["J&F appearance"] < 0.5
