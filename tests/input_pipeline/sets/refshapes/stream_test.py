"""Batches depend on (split, seed, step) and on nothing else."""

import itertools
import json

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.batches import pipeline
from sgmg_jax.input_pipeline.refshapes import dataset, predicates
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels
from sgmg_jax.input_pipeline.sets.refshapes import stream


def _pipe(*, batch_size=2, num_workers=0, seed=5, **options):
  config = pipeline.Config(
    root="",
    sets=(("refshapes", "", 1),),
    endless=True,
    batch_size=batch_size,
    expressions_per_clip=3,
    num_frames=4,
    buckets=((96, 96),),
    num_workers=num_workers,
    options={"refshapes": {"height": 72, "width": 96, **options}},
  )
  return pipeline.create(config, "train", seed=seed)


def _take(count, **changes):
  pipe = _pipe(**changes)
  taken = list(itertools.islice(pipe, count))
  pipe.close()
  return taken


def _same(a, b):
  return a.expressions == b.expressions and all(
    np.array_equal(getattr(a, name), getattr(b, name))
    for name in ("frames", "size", "boxes", "masks", "valid")
  )


@pytest.fixture(scope="module")
def straight():
  return _take(4)


def test_shapes_and_padding(straight):
  batch = straight[0]
  assert batch.frames.shape == (2, 4, 96, 96, 3)
  assert batch.frames.dtype == np.uint8
  assert batch.masks.shape == (6, 4, 96, 96)
  assert batch.boxes.shape == (6, 4, 4)
  assert batch.valid.shape == (6, 4)
  assert len(batch.expressions) == 6
  np.testing.assert_array_equal(batch.size, [[72, 96]] * 2)
  assert not batch.frames[:, :, 72:].any() and not batch.masks[:, :, 72:].any()


def test_rows_belong_to_their_clip_and_object(straight):
  for step, batch in enumerate(straight):
    for row, text in enumerate(batch.expressions):
      clip = dataset.generate_clip(
        "train",
        2 * (5_000_000 + step) + row // 3,
        num_frames=4,
        height=72,
        width=96,
      )
      np.testing.assert_array_equal(batch.frames[row // 3, :, :72], clip.frames)
      (index,) = [e.object_index for e in clip.expressions if e.text == text]
      truth = clip.masks[index]
      np.testing.assert_array_equal(batch.masks[row, :, :72], truth)
      np.testing.assert_array_equal(batch.valid[row], truth.any((1, 2)))
      # Boxes: centre and extent over the unpadded frame.
      for t in range(4):
        cx, cy, w, h = batch.boxes[row, t] * [96, 72, 96, 72]
        corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        np.testing.assert_allclose(corners, clip.boxes[index, t], atol=1e-4)


def test_workers_change_nothing(straight):
  assert all(map(_same, _take(4, num_workers=2), straight))


def test_goes_on_where_another_run_stopped(straight):
  first = _pipe(num_workers=1)
  assert first.num_samples is None and first.num_batches is None
  list(itertools.islice(first, 2))
  first.close()
  position = json.loads(json.dumps(first.position()))
  second = _pipe()
  second.restore(position)
  assert all(map(_same, itertools.islice(second, 2), straight[2:]))
  assert not _same(straight[0], straight[1])
  with pytest.raises(errors.UserError, match="options.* use another workdir"):
    _pipe(absent_share=0.5).restore(position)
  # As positions were before there was one rule for all data.
  with pytest.raises(errors.UserError, match="another version; use another"):
    _pipe().restore({"split": "train", "seed": 5, "absent_share": 0.0})


def test_other_seeds_have_other_clips(straight):
  assert not any(map(_same, _take(4, seed=6), straight))


def test_processes_share_a_batch(straight):
  config = _pipe(absent_share=1.0)._config
  whole = next(pipeline.create(config, "train", seed=5))
  halves = [
    next(pipeline.create(config, "train", i, 2, seed=5)) for i in range(2)
  ]
  joined = np.concatenate([half.masks for half in halves])
  np.testing.assert_array_equal(joined, whole.masks)
  expressions = [e for half in halves for e in half.expressions]
  assert expressions == whole.expressions


def test_every_object_speaks_before_one_speaks_twice():
  objects = [0, 0, 0, 0, 1, 1, 2]
  random = np.random.default_rng(0)
  seen = set()
  for _ in range(50):
    chosen = stream.choose_expressions(objects, 5, random)
    assert len(set(chosen)) == 5
    assert {objects[k] for k in chosen[:3]} == {0, 1, 2}
    seen.update(chosen)
  assert seen == set(range(7))
  # More than there are: each again only after all.
  chosen = stream.choose_expressions([0, 1], 5, random)
  assert set(chosen[:2]) == set(chosen[2:4]) == {0, 1}


def test_absent_expressions_are_false_of_every_object_and_find_nothing():
  rows = kept = 0
  for step, batch in enumerate(_take(6, absent_share=0.5)):
    for row, text in enumerate(batch.expressions):
      clips = [
        dataset.generate_clip(
          "train",
          2 * (5_000_000 + step) + i,
          num_frames=4,
          height=72,
          width=96,
        )
        for i in (row // 3, 1 - row // 3)
      ]
      own = [e for e in clips[0].expressions if e.text == text]
      rows += 1
      if batch.masks[row].any():
        kept += len(own)
        continue
      assert not own
      assert not batch.valid[row].any() and not batch.boxes[row].any()
      (other,) = {e.meaning for e in clips[1].expressions if e.text == text}
      judge = predicates.Judge(clips[0].facts)
      assert judge.verdict(other).no == judge.everyone
  assert rows == 36 and 10 <= kept <= 26


def test_a_single_clip_has_nobody_to_take_absent_expressions_from():
  (batch,) = _take(1, batch_size=1, absent_share=1.0)
  assert batch.valid.any(1).all()


def test_annotated_frames_are_those_of_the_whole_clip(straight):
  seen = set()
  for batch, whole in zip(_take(4, num_annotated=2), straight):
    assert batch.annotated.shape == (2, 2) and batch.annotated.dtype == np.int32
    assert (np.diff(batch.annotated) > 0).all()
    np.testing.assert_array_equal(batch.frames, whole.frames)
    for row, text in enumerate(batch.expressions):
      (same,) = [
        i
        for i, other in enumerate(whole.expressions)
        if other == text and i // 3 == row // 3
      ]
      kept = batch.annotated[row // 3]
      seen.update(kept.tolist())
      for name in ("masks", "boxes", "valid"):
        np.testing.assert_array_equal(
          getattr(batch, name)[row], getattr(whole, name)[same][kept]
        )
  assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize(
  "change",
  [{"num_annotated": 5}, {"absent_share": 2}, {"kinds": ("place", "motoin")}],
)
def test_specs_that_no_batch_can_have(change):
  with pytest.raises(errors.UserError, match=next(iter(change))):
    _pipe(**change)


def test_labels_of_cells_are_those_of_the_clips(straight):
  assert not straight[0].labels
  (batch,) = _take(1, labels=["cells"], num_annotated=1)
  for k, stride in enumerate(cell_labels.STRIDES):
    classes, motion = (kind[k] for kind in batch.labels["cells"])
    # Of the padded frames, and of all of them.
    assert classes.shape == (2, 4, 96 // stride, 96 // stride, 4)
    assert motion.shape[:-1] == classes.shape[:-1]
    assert not classes[:, :, 72 // stride + 1 :].any()
    for row in range(2):
      clip = dataset.generate_clip(
        "train", 10_000_000 + row, num_frames=4, height=72, width=96
      )
      expected = cell_labels.label_cells(clip.facts, clip.masks, [stride])
      rows = expected.classes[0].shape[1]
      np.testing.assert_array_equal(classes[row, :, :rows], expected[0][0])
      np.testing.assert_array_equal(motion[row, :, :rows], expected[1][0])


def test_cells_with_the_referent_s_role_are_those_of_its_mask():
  absent = 0
  for batch in _take(3, labels=("roles",), num_annotated=2, absent_share=0.5):
    for stride, labels in zip(
      cell_labels.STRIDES, batch.labels["roles"], strict=True
    ):
      centres = batch.masks[:, :, stride // 2 :: stride, stride // 2 :: stride]
      assert labels.dtype == np.int8
      np.testing.assert_array_equal(labels[..., 0] == 1, centres)
    absent += (~batch.valid.any(1)).sum()
  assert absent


@pytest.mark.parametrize("group", ["objects", "all", "mixed"])
def test_groups_are_distinct_and_of_any_size(group):
  sizes = set()
  for batch in _take(6, group=group, absent_share=0.5):
    used = batch.expression_valid
    assert used[:, 0].all() and not (~used[:, :-1] & used[:, 1:]).any()
    sizes |= set(used.sum(1).tolist())
    said = np.array(batch.expressions).reshape(used.shape)
    masks = batch.masks.reshape(*used.shape, *batch.masks.shape[1:])
    assert not masks[~used].any() and masks[used].any()
    assert (said == "")[~used].all() and (said != "")[used].all()
    assert not batch.valid.reshape(*used.shape, -1)[~used].any()
    for row, count in enumerate(used.sum(1)):
      texts, shown = said[row, :count].tolist(), masks[row, :count]
      assert len(set(texts)) == count
      if group == "objects":
        assert not (shown.sum(0) > 1).any()
  assert sizes == {1, 2, 3}


def test_an_unknown_group_is_named():
  with pytest.raises(errors.UserError, match="group: expected objects, all"):
    _take(1, group="some")
