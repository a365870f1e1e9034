"""Batches depend on (split, seed, step) and on nothing else."""

import dataclasses
import itertools

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.refshapes import batches, dataset, predicates
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels

SPEC = batches.BatchSpec(
  split="train",
  seed=5,
  batch_size=2,
  expressions_per_clip=3,
  num_frames=4,
  height=72,
  width=96,
)


def _same(a, b):
  return a.expressions == b.expressions and all(
    np.array_equal(getattr(a, name), getattr(b, name))
    for name in ("frames", "size", "boxes", "masks", "valid")
  )


def _take(count, **kwargs):
  stream = batches.batches(SPEC, **kwargs)
  taken = list(itertools.islice(stream, count))
  stream.close()
  return taken


@pytest.fixture(scope="module")
def straight():
  return _take(4, start=0, num_workers=0, prefetch=1)


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
  made = _take(4, start=0, num_workers=2, prefetch=3)
  assert all(map(_same, made, straight))


def test_start_goes_on_where_another_run_stopped(straight):
  made = _take(2, start=2, num_workers=0, prefetch=1)
  assert all(map(_same, made, straight[2:]))
  assert not _same(straight[0], straight[1])


def test_every_object_speaks_before_one_speaks_twice():
  objects = [0, 0, 0, 0, 1, 1, 2]
  random = np.random.default_rng(0)
  seen = set()
  for _ in range(50):
    chosen = batches.choose_expressions(objects, 5, random)
    assert len(set(chosen)) == 5
    assert {objects[k] for k in chosen[:3]} == {0, 1, 2}
    seen.update(chosen)
  assert seen == set(range(7))
  # More than there are: each again only after all.
  chosen = batches.choose_expressions([0, 1], 5, random)
  assert set(chosen[:2]) == set(chosen[2:4]) == {0, 1}


def test_absent_expressions_are_false_of_every_object_and_find_nothing():
  spec = dataclasses.replace(SPEC, absent_share=0.5)
  rows = kept = 0
  for step in range(6):
    batch = batches.make_batch(spec, step)
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
  spec = dataclasses.replace(SPEC, batch_size=1, absent_share=1.0)
  assert batches.make_batch(spec, 0).valid.any(1).all()


def test_annotated_frames_are_those_of_the_whole_clip(straight):
  spec = dataclasses.replace(SPEC, num_annotated=2)
  seen = set()
  for step, whole in enumerate(straight):
    batch = batches.make_batch(spec, step)
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
    dataclasses.replace(SPEC, **change)


def test_labels_of_cells_are_those_of_the_clips(straight):
  assert not straight[0].labels
  spec = dataclasses.replace(SPEC, labels=["cells"], num_annotated=1)
  batch = batches.make_batch(spec, 0)
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
  spec = dataclasses.replace(
    SPEC,
    labels=("roles",),
    num_annotated=2,
    absent_share=0.5,
  )
  absent = 0
  for step in range(3):
    batch = batches.make_batch(spec, step)
    for stride, labels in zip(
      cell_labels.STRIDES, batch.labels["roles"], strict=True
    ):
      centres = batch.masks[:, :, stride // 2 :: stride, stride // 2 :: stride]
      assert labels.dtype == np.int8
      np.testing.assert_array_equal(labels[..., 0] == 1, centres)
    absent += (~batch.valid.any(1)).sum()
  assert absent
