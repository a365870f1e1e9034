"""What a row of the plan gives, and what is done about bad samples."""

import dataclasses

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch, seeds
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.batches import (
  clip_sampler,
  loader,
  planner,
  recipes,
)
from sgmg_jax.input_pipeline.ops import base as ops_base
from sgmg_jax.input_pipeline.ops import boxes, captions

BUCKETS = ((64, 96), (96, 64), (96, 96))


class Squares(source_lib.Source):
  """Videos of noise; video i shows object 1, a square, unless in `empty`."""

  name, split = "squares", "train"

  def __init__(self, num_videos, *, length=6, empty=(), broken=(), frame=None):
    self.expressions = [
      source_lib.Expression(f"v{i}", "0", f"square {i}", (1,), frame)
      for i in range(num_videos)
    ]
    self.empty, self.broken, self.length = empty, broken, length
    self.read = []

  def video(self, name):
    frames = tuple(f"{t:05d}" for t in range(self.length))
    return source_lib.Video(name, frames, (48, 80))

  def encoded_frame(self, video, index):
    raise NotImplementedError

  def read_frames(self, video, indices):
    self.read.append((video, tuple(indices)))
    if int(video[1:]) in self.broken:
      raise UserError(f"{video}/00000.jpg: cut short")
    random = np.random.default_rng(int(video[1:]))
    frames = random.integers(0, 256, (self.length, 48, 80, 3), np.uint8)
    return frames[list(indices)]

  def objects(self, video, index):
    mask = np.zeros((48, 80), bool)
    if int(video[1:]) in self.empty:
      return {}
    mask[8:20, 2 * index : 2 * index + 12] = True
    return {1: mask}


@dataclasses.dataclass(frozen=True)
class Turn(ops_base.Op):
  """Transposes one sample in three: portrait instead of landscape."""

  def _turns(self, seed):
    return seeds.generator(*seed).random() < 1 / 3

  def output_size(self, size, seed):
    return size[::-1] if self._turns(seed) else size

  def __call__(self, example, seed):
    if not self._turns(seed):
      return dict(example)
    return {
      **example,
      "frames": example["frames"].swapaxes(1, 2),
      "masks": example["masks"].swapaxes(-1, -2),
      "boxes": example["boxes"][..., [1, 0, 3, 2]],
      "size": example["size"][::-1],
    }


def _recipe(resample=True, sampler=None):
  sampler = sampler or clip_sampler.SpreadClips(4)
  return recipes.Recipe(sampler, (boxes.BoxesFromMasks(), Turn()), resample)


def _loader(source, recipe=None, skip_errors=False, **options):
  data_set = loader.DataSet(
    source, recipe or _recipe(), skip_errors=skip_errors, **options
  )
  mixture = planner.Mixture([data_set.part()])
  return loader.Loader([data_set], mixture, 5, skip_errors)


def _rows(load, kind=planner.TrainPlan):
  plan = kind(load.mixture, buckets=BUCKETS, batch_size=3, seed=5)
  if kind is planner.EvalPlan:
    batches = plan.batches
  else:
    batches = [plan.next_batch() for _ in range(12)]
  return [(row, batch.bucket) for batch in batches for row in batch.rows]


def _same(a, b):
  return all(np.array_equal(a[name], b[name]) for name in a)


def test_a_row_holds_the_planned_sample_in_the_planned_size():
  load = _loader(Squares(9))
  rows = _rows(load)
  seen = set()
  for row, bucket in rows:
    example, skipped = load.load(row, bucket)
    assert not skipped and example["valid_row"]
    assert example["index"] == row.index
    assert example["frames"].shape == (4, *bucket, 3)
    assert example["masks"].shape == (1, 4, *bucket)
    sample = load.data_sets[0].samples[row.index]
    assert example["expressions"] == [sample.expression.text]
    seen.add(tuple(example["size"]))
    # The smallest bucket, as the size was known before.
    assert bucket == BUCKETS[0 if tuple(example["size"]) == (48, 80) else 1]
  assert seen == {(48, 80), (80, 48)}


def test_the_same_row_gives_the_same_in_any_order():
  load, other = _loader(Squares(9)), _loader(Squares(9))
  rows = _rows(load)
  first = [load.load(*row)[0] for row in rows]
  second = [other.load(*row)[0] for row in reversed(rows)][::-1]
  assert all(map(_same, first, second))
  assert not _same(first[0], first[1])


def test_frames_that_a_clip_has_twice_are_read_once():
  source = Squares(3, length=2)
  load = _loader(source)
  example, _ = load.load(*_rows(load)[0])
  assert example["frames"].shape[0] == 4
  assert all(len(set(indices)) == len(indices) for _, indices in source.read)


def test_one_annotated_frame_gives_one_target():
  sampler = clip_sampler.AnnotatedClips(4)
  load = _loader(Squares(6, frame=3), _recipe(sampler=sampler))
  assert load.lengths == (4, 1, 1)
  for row, bucket in _rows(load):
    example, _ = load.load(row, bucket)
    assert example["masks"].shape == (1, 1, *bucket)
    # Frame t of the video has its square 2 t pixels from the left.
    low = min(np.flatnonzero(example["masks"][0, 0].any(0)))
    assert {low} <= {6, 8}
    assert example["annotated"].shape == (1,)


def test_the_data_sets_own_box_goes_before_that_of_the_mask():
  class Boxed(Squares):
    def box(self, expression):
      return np.float32([1.5, 2, 40, 30.25])

  # Evaluation turns nothing.
  sampler = clip_sampler.AnnotatedClips(4)
  recipe = recipes.Recipe(sampler, (boxes.BoxesFromMasks(),), False)
  for source, (x1, y1, x2, y2) in (
    (Boxed(2, frame=0), (1.5, 2, 40, 30.25)),
    (Squares(2, frame=0), (0, 8, 11, 19)),
  ):
    load = _loader(source, recipe)
    example, _ = load.load(*_rows(load, planner.EvalPlan)[0])
    centre, extent = [(x1 + x2) / 2, (y1 + y2) / 2], [x2 - x1, y2 - y1]
    expected = np.array([*centre, *extent]) / [80, 48, 80, 48]
    np.testing.assert_allclose(example["boxes"], [[expected]], rtol=1e-6)


def test_a_sample_without_its_object_is_replaced_in_training():
  # One in ten is usable: the search must end, and in the same bucket.
  load = _loader(Squares(10, empty=range(9)))
  rows = _rows(load)
  for row, bucket in rows:
    example, skipped = load.load(row, bucket)
    assert not skipped and example["valid"].any()
    assert load.data_sets[0].samples[example["index"]].expression.video == "v9"
    assert planner.fits(tuple(example["size"]), bucket)
  again = _loader(Squares(10, empty=range(9)))
  assert all(_same(load.load(*r)[0], again.load(*r)[0]) for r in rows)


def test_a_sentence_without_a_target_is_trained_on():
  source = Squares(6, empty=(0, 1))
  # Sentence 0 has no target; that of sentence 1 is in no frame.
  source.expressions[0] = dataclasses.replace(
    source.expressions[0], object_ids=()
  )
  load = _loader(source)
  found = {}
  for row in _rows(load):
    example, _ = load.load(*row)
    found[example["expressions"][0]] = example
  assert "square 1" not in found
  example = found["square 0"]
  assert example["valid_row"] and not example["masks"].any()
  assert not example["valid"].any() and not example["boxes"].any()
  # The released rule, on request.
  load.data_sets[0].no_target = False
  expressions = {load.load(*row)[0]["expressions"][0] for row in _rows(load)}
  assert expressions == {f"square {i}" for i in range(2, 6)}


def test_a_sample_without_its_object_is_kept_in_evaluation():
  load = _loader(Squares(10, empty=range(9)), _recipe(resample=False))
  rows = _rows(load, planner.EvalPlan)
  found = [load.load(*row)[0] for row in rows if row[0] != planner.PADDING]
  real = sorted(int(example["index"]) for example in found)
  assert real == list(range(len(load.mixture)))
  assert sum(e["valid"].any() for e in found) == 2
  assert all(e["valid_row"] for e in found)


def test_a_set_without_any_object_ends():
  load = _loader(Squares(2, empty=(0, 1)))
  with pytest.raises(UserError, match="none of 1000 samples that fit"):
    load.load(*_rows(load)[0])


class Crowd(Squares):
  """Videos of six sentences: three about the square, one of which repeats
  another, one about nothing, and two about what is never seen."""

  def __init__(self, num_videos):
    super().__init__(num_videos)
    said = [("A square", (1,)), ("a  square", (1,)), ("it", (1,)), ("no", ())]
    said += [("a ghost", (2,)), ("a ghost left of it", (2,))]
    self.expressions = [
      source_lib.Expression(f"v{i}", str(k), text, objects)
      for i in range(num_videos)
      for k, (text, objects) in enumerate(said)
    ]


def test_several_expressions_share_a_clip():
  load = _loader(Crowd(3), expressions_per_clip=4)
  data_set = load.data_sets[0]
  assert load.lengths == (4, 4, 4)
  # One sample per video and anchor, whatever is said about it.
  assert len(load.mixture) == 3 * 2 and len(data_set.samples) == 6 * 3 * 2
  counts, used = set(), set()
  for row, bucket in _rows(load):
    example, _ = load.load(row, bucket)
    again, _ = load.load(row, bucket)
    assert _same(example, again)
    assert example["masks"].shape == (4, 4, *bucket)
    valid = example["expression_valid"]
    assert valid.any() and not example["valid"][~valid].any()
    chosen = [t for t in example["expressions"] if t != batch.FILLING]
    counts.add(len(chosen))
    assert len({captions.normalise(t) for t in chosen}) == len(chosen)
    for k, text in enumerate(example["expressions"]):
      # What is never seen, or only fills, counts in no loss.
      assert valid[k] == (text.lower() in ("a square", "a  square", "it", "no"))
      shown = valid[k] and text != "no"
      assert example["masks"][k].any() == example["valid"][k].any() == shown
    used.update(t for t, v in zip(example["expressions"], valid) if v)
  assert counts == {1, 2, 3, 4} and {"it", "no"} < used


def test_a_mixture_has_as_many_expressions_each():
  sets = [
    loader.DataSet(Squares(2), _recipe(), expressions_per_clip=e)
    for e in (1, 2)
  ]
  mixture = planner.Mixture([data_set.part() for data_set in sets])
  with pytest.raises(UserError, match="expressions"):
    loader.Loader(sets, mixture, 5, False).lengths  # noqa: B018


def test_padding_is_masked():
  load = _loader(Squares(2))
  example, _ = load.load(planner.PADDING, (64, 96))
  assert not example["valid_row"] and example["index"] == -1
  assert example["frames"].shape == (4, 64, 96, 3)
  assert not example["frames"].any() and not example["valid"].any()


def test_a_corrupt_record_stops_training_by_default():
  load = _loader(Squares(1, broken=(0,)))
  with pytest.raises(UserError, match="v0/00000.jpg: cut short"):
    load.load(*_rows(load)[0])


def test_a_corrupt_record_is_replaced_if_asked_to():
  load = _loader(Squares(4, broken=(0, 2)), skip_errors=True)
  messages = []
  for row in _rows(load):
    example, skipped = load.load(*row)
    messages += skipped
    assert example["valid_row"] and example["expressions"][0][-1] in "13"
  assert set(messages) == {f"v{i}/00000.jpg: cut short" for i in (0, 2)}


def test_a_corrupt_record_is_masked_in_evaluation_if_asked_to():
  recipe = _recipe(resample=False)
  load = _loader(Squares(4, broken=(1,)), recipe, skip_errors=True)
  rows = _rows(load, planner.EvalPlan)
  found = [load.load(*row) for row in rows if row[0] != planner.PADDING]
  masked = [e["index"] for e, _ in found if not e["valid_row"]]
  samples = load.data_sets[0].samples
  assert {samples[i].expression.video for i in masked} == {"v1"}
  assert {m for _, skipped in found for m in skipped} == {
    "v1/00000.jpg: cut short"
  }


def test_mixed_lengths_are_refused():
  one = loader.DataSet(Squares(2), _recipe())
  two = loader.DataSet(Squares(2), _recipe(sampler=clip_sampler.SpreadClips(3)))
  mixture = planner.Mixture([one.part(), two.part()])
  with pytest.raises(UserError, match="as many"):
    loader.Loader([one, two], mixture, 5, False).lengths  # noqa: B018
