"""Batches depend on (seed, step) alone; their scenes are in no split."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import workers
from sgmg_jax.input_pipeline.refshapes import dataset
from sgmg_jax.input_pipeline.refshapes.labels import cell_batches, cell_labels

SPEC = cell_batches.CellBatchSpec(
  seed=5, batch_size=2, num_frames=3, height=64, width=96, strides=(8, 32)
)


def _take(count, spec=SPEC, start=0, **kwargs):
  make = functools.partial(cell_batches.make_batch, spec)
  steps = range(start, start + count)
  return list(workers.in_order(make, steps, **kwargs))


def _arrays(batch):
  return [batch.frames, *batch.cells.classes, *batch.cells.motion]


def _same(a, b):
  return all(map(np.array_equal, _arrays(a), _arrays(b)))


@pytest.fixture(scope="module")
def straight():
  return _take(3, start=0, num_workers=0, prefetch=1)


def test_shapes(straight):
  assert [x.shape for x in _arrays(straight[0])] == [
    (2, 3, 64, 96, 3),
    (2, 3, 8, 12, 4),
    (2, 3, 2, 3, 4),
    (2, 3, 8, 12, len(cell_labels.MOTION)),
    (2, 3, 2, 3, len(cell_labels.MOTION)),
  ]


def test_workers_and_start_change_nothing(straight):
  made = _take(2, start=1, num_workers=1, prefetch=2)
  assert all(map(_same, made, straight[1:]))


def test_every_step_clip_and_seed_has_its_own_scene(straight):
  assert not _same(straight[0], straight[1])
  assert not np.array_equal(*straight[0].frames)
  other = dataclasses.replace(SPEC, seed=6)
  assert not _same(
    _take(1, other, start=0, num_workers=0, prefetch=1)[0], straight[0]
  )


def test_a_clip_cut_out_of_its_scene():
  spec = dataclasses.replace(SPEC, scene_frames=5)
  whole = dataclasses.replace(SPEC, num_frames=5)
  starts = set()
  for step in range(4):
    part = cell_batches.make_batch(spec, step)
    scene = cell_batches.make_batch(whole, step)
    for i, frames in enumerate(part.frames):
      found = [
        s
        for s in range(3)
        if np.array_equal(frames, scene.frames[i, s : s + 3])
      ]
      assert len(found) == 1
      start = found[0]
      starts.add(start)
      for a, b in zip(_arrays(part)[1:], _arrays(scene)[1:]):
        np.testing.assert_array_equal(a[i], b[i, start : start + 3])
  assert starts == {0, 1, 2}


def test_a_scene_shorter_than_its_clip():
  with pytest.raises(UserError, match="scene_frames 2: expected 0 or at least"):
    dataclasses.replace(SPEC, scene_frames=2)


def test_scenes_are_in_no_split():
  assert cell_batches.STREAM not in dataset.SPLIT_SEEDS.values()
  size = dict(num_frames=1, height=64, width=96)
  held_out = {
    dataset.generate_clip(split, index, **size).scene.background_seed
    for split in dataset.SPLIT_SEEDS
    for index in range(6)
  }
  # Were the seed a split's, its first clips would be these.
  for seed in (0, *dataset.SPLIT_SEEDS.values()):
    spec = dataclasses.replace(SPEC, seed=seed)
    for step, index in itertools.product(range(6), range(3)):
      scene = cell_batches.sample_scene(spec, step, index)
      assert scene.background_seed not in held_out


def test_sides_that_cells_do_not_fill():
  with pytest.raises(UserError, match="64x90: expected multiples of 32"):
    dataclasses.replace(SPEC, width=90)
