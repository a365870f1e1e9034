"""RefShapes as a source: drawn when asked for, and only then."""

import dataclasses

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.sets.refshapes import reader as refshapes

SMALL = {"num_frames": 3, "height": 48, "width": 64}


@pytest.fixture
def drawn(monkeypatch):
  """Indices of the clips that were drawn, in order."""
  indices = []
  generate = dataset.generate_clip

  def count(split, index, **options):
    indices.append(index)
    return generate(split, index, **options)

  monkeypatch.setattr(dataset, "generate_clip", count)
  return indices


def _source(**options):
  return refshapes.RefShapes(None, "val", **SMALL, **options)


def test_everything_is_that_of_the_clip():
  source = _source(num_clips=3)
  clip = dataset.generate_clip("val", 2, **SMALL)
  assert source.video("val_000002") == source_lib.Video(
    "val_000002", ("00000", "00001", "00002"), (48, 64)
  )
  np.testing.assert_array_equal(
    source.read_frames("val_000002", [2, 0, 2]), clip.frames[[2, 0, 2]]
  )
  coded = source.encoded_frame("val_000002", 1)
  np.testing.assert_array_equal(
    np.asarray(source_lib.decode_image(coded, "x")), clip.frames[1]
  )
  sentences = {e.text: e.object_index for e in clip.expressions}
  mine = [e for e in source.expressions if e.video == clip.name]
  assert [e.id for e in mine] == ["0", "1", "2", "3"]
  for expression in mine:
    i = sentences[expression.text]
    assert expression.object_ids == (i + 1,)
    np.testing.assert_array_equal(
      source.read_masks(expression, [1, 2]), clip.masks[i, [1, 2]]
    )


def test_planning_draws_nothing(drawn):
  source = _source(num_clips=5)
  videos = [source.video(e.video).name for e in source.expressions]
  assert videos == [f"val_{k:06d}" for k in range(5) for _ in range(4)]
  assert {e.frame for e in source.expressions} == {None}
  assert not drawn


def test_a_clip_is_drawn_once_while_cached(drawn):
  source = _source(num_clips=3, cached_clips=2)
  for k in (0, 1, 0, 1):
    expression = source.expressions[4 * k]
    source.read_masks(expression, [0, 1])
    source.read_frames(expression.video, [0])
    assert expression.text
  assert drawn == [0, 1]
  source.clip("val_000002")
  source.clip("val_000000")
  assert drawn == [0, 1, 2, 0]


def test_objects_speak_in_turn():
  clip = dataset.generate_clip("val", 0, **SMALL)
  described = {e.object_index + 1 for e in clip.expressions}
  source = _source(num_clips=1, expressions_per_clip=len(described))
  ids = [e.object_ids[0] for e in source.expressions]
  assert sorted(ids) == sorted(described)
  # More than there are: each comes again only after all.
  count = len(clip.expressions)
  source = _source(num_clips=1, expressions_per_clip=count + 1)
  texts = [e.text for e in source.expressions]
  assert sorted(texts[:count]) == sorted(e.text for e in clip.expressions)
  assert texts[count] == texts[0]


def test_expressions_are_expressions():
  expression = _source(num_clips=1).expressions[1]
  plain = source_lib.Expression(
    **{
      field.name: getattr(expression, field.name)
      for field in dataclasses.fields(source_lib.Expression)
    }
  )
  assert plain.key == expression.key == "val_000000/1"
  assert expression == _source(num_clips=1).expressions[1]
  assert expression != _source(num_clips=1).expressions[0]
  with pytest.raises(dataclasses.FrozenInstanceError):
    expression.video = "another"


def test_default_numbers():
  assert len(refshapes.RefShapes(None, "train").expressions) == 40_000
  assert len(refshapes.RefShapes(None, "test").expressions) == 2_000


@pytest.mark.parametrize(
  "options",
  [
    {"num_clips": 0},
    {"expressions_per_clip": -1},
    {"cached_clips": 0},
  ],
)
def test_impossible_numbers(options):
  with pytest.raises(UserError, match="expected 1 or more"):
    _source(**options)


def test_unknown_split_and_video():
  with pytest.raises(UserError, match="split 'valid': expected"):
    refshapes.RefShapes(None, "valid")
  source = _source(num_clips=1)
  for read in (source.video, source.clip):
    with pytest.raises(UserError, match="refshapes val: no video 'val_000001'"):
      read("val_000001")


def test_no_number_of_expressions_gives_all_in_their_order():
  options = dict(num_clips=2, num_frames=2, height=64, width=64)
  source = refshapes.RefShapes(None, "val", expressions_per_clip=0, **options)
  clips = [
    dataset.generate_clip("val", i, num_frames=2, height=64, width=64)
    for i in range(2)
  ]
  assert [(e.video, e.id, e.text) for e in source.expressions] == [
    (clip.name, str(k), e.text)
    for clip in clips
    for k, e in enumerate(clip.expressions)
  ]
  last = source.expressions[-1]
  index = clips[1].expressions[-1].object_index
  np.testing.assert_array_equal(
    source.read_masks(last, [0, 1]), clips[1].masks[index]
  )
