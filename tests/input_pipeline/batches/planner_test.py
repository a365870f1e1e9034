"""The order of samples: nothing lost or repeated, resumable anywhere."""

import collections
import itertools
import json

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import seeds
from sgmg_jax.input_pipeline.batches import config, planner

BUCKETS = ((64, 96), (96, 64), (96, 96))
SIZES = ((50, 96), (90, 60), (96, 96))


def _size(index, seed):
  """Landscape mostly, depends on the draw as well."""
  del index
  return SIZES[int(seeds.generator(*seed).choice(3, p=(0.7, 0.2, 0.1)))]


def _part(name, num_samples, repeat=1, output_size=_size):
  return planner.Part(name, num_samples, output_size, repeat)


def _plan(kind=planner.TrainPlan, parts=None, **kwargs):
  settings = dict(buckets=BUCKETS, batch_size=6, seed=3) | kwargs
  return kind(planner.Mixture(parts or [_part("a", 50)]), **settings)


def _take(plan, count):
  return [plan.next_batch() for _ in range(count)]


def test_concatenation_lists_a_repeated_set_several_times():
  mixture = planner.Mixture([_part("davis", 3, repeat=2), _part("ytvos", 4)])
  assert len(mixture) == 10
  found = [mixture.locate(i) for i in range(10)]
  davis = [(0, 0), (0, 1), (0, 2)]
  assert found == davis * 2 + [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_empty_mixture_is_refused():
  with pytest.raises(UserError, match="no samples: a, b"):
    planner.Mixture([_part("a", 0), _part("b", 0)])


def test_every_sample_once_an_epoch_and_none_lost_in_between():
  plan = _plan()
  rows = [row for batch in _take(plan, 50) for row in batch.rows]
  pending = [
    tuple(row) for _, rows in plan.position()["pending"] for row in rows
  ]
  epochs = collections.defaultdict(list)
  for row in rows + [planner.Row(*row) for row in pending]:
    epochs[row.epoch].append(row.index)
  last = plan.position()["epoch"]
  assert last >= 5
  for epoch in range(last):
    assert sorted(epochs[epoch]) == list(range(50))
  assert len(set(epochs[last])) == len(epochs[last])
  # Left-overs of an epoch are used soon in the next.
  assert len(pending) <= len(BUCKETS) * 5


def test_epochs_differ_and_depend_on_the_seed_only():
  orders = [
    [row.index for batch in _take(_plan(seed=s), 40) for row in batch.rows]
    for s in (3, 3, 4)
  ]
  assert orders[0] == orders[1] != orders[2]
  assert orders[0][:50] != orders[0][50:100]


def test_batches_are_of_one_bucket_that_holds_each_sample_tightly():
  plan = _plan()
  seen = set()
  for batch in _take(plan, 40):
    seen.add(batch.bucket)
    for row in batch.rows:
      size = _size(0, plan.sample_seed(row, 0))
      assert planner.fits(size, batch.bucket)
      assert batch.bucket == BUCKETS[SIZES.index(size)]
  assert seen == set(BUCKETS)


def test_processes_share_each_batch_without_overlap():
  for batch in _take(_plan(), 10):
    for count in (1, 2, 3, 6):
      shares = [
        config.Share("train", True, i, count, 0).rows(batch)
        for i in range(count)
      ]
      assert tuple(itertools.chain(*shares)) == batch.rows
      assert {len(share) for share in shares} == {6 // count}


@pytest.mark.parametrize("step", [0, 1, 7, 23])
def test_a_saved_position_goes_on_exactly(step):
  straight = _plan()
  expected = _take(straight, 40)
  first = _plan()
  _take(first, step)
  position = json.loads(json.dumps(first.position()))
  assert position["step"] == step
  # Later batches leave what was saved alone.
  _take(first, 5)
  second = _plan()
  second.restore(position)
  assert _take(second, 40 - step) == expected[step:]
  assert second.position() == straight.position()


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(seed=4), "saved with seed = 3, now 4"),
    (dict(batch_size=12), "batch_size = 6, now 12"),
    (dict(buckets=BUCKETS[2:]), "buckets"),
    (dict(parts=[_part("a", 51)]), "data = "),
    (dict(kind=planner.EvalPlan), "kind"),
  ],
)
def test_a_position_of_other_data_is_refused(change, message):
  position = _plan().position()
  with pytest.raises(UserError, match=message):
    _plan(**change).restore(position)


@pytest.mark.parametrize("num_samples", [1, 6, 23, 50])
def test_evaluation_has_every_sample_once(num_samples):
  plan = _plan(planner.EvalPlan, [_part("a", num_samples)])
  batches = list(plan.batches)
  assert _take(plan, len(batches)) == batches
  with pytest.raises(StopIteration):
    plan.next_batch()
  assert {len(batch.rows) for batch in batches} == {6}
  rows = [row for batch in batches for row in batch.rows]
  real = [row.index for row in rows if row != planner.PADDING]
  assert sorted(real) == list(range(num_samples))
  # Only a bucket's last batch is padded.
  partial = [b.bucket for b in batches if planner.PADDING in b.rows]
  assert len(set(partial)) == len(partial)


def test_evaluation_goes_on_from_a_position():
  plan = _plan(planner.EvalPlan)
  first = _take(plan, 3)
  other = _plan(planner.EvalPlan)
  other.restore(json.loads(json.dumps(plan.position())))
  rest = _take(other, len(plan.batches) - 3)
  assert tuple(first + rest) == plan.batches


@pytest.mark.parametrize(
  "buckets", [(), ((64, 96), (64, 96)), ((64, 90),), ((64,),), ((0, 32),)]
)
def test_bad_buckets_are_refused(buckets):
  with pytest.raises(UserError, match="data.buckets"):
    _plan(buckets=buckets)


def test_a_sample_that_fits_no_bucket_is_named():
  with pytest.raises(UserError, match="a sample .*: 96x96 pixels .* none of"):
    _take(_plan(buckets=BUCKETS[:2]), 40)


def _broken(index, seed):
  if index % 10 == 3:
    raise UserError(f"broken{index}.jpg: cut short")
  return _size(index, seed)


def test_what_cannot_be_opened_stops_the_plan_by_default():
  with pytest.raises(UserError, match="broken.*jpg: cut short"):
    _take(_plan(parts=[_part("a", 50, output_size=_broken)]), 10)


def test_what_cannot_be_opened_is_replaced_if_asked_to():
  make = lambda: _plan(
    parts=[_part("a", 50, output_size=_broken)], skip_errors=True
  )
  plan = make()
  rows = [row for batch in _take(plan, 20) for row in batch.rows]
  assert set(plan.skipped) <= {f"broken{i}.jpg: cut short" for i in range(50)}
  assert len(plan.skipped) >= 5
  assert all(row.index % 10 != 3 for row in rows)
  assert sum(row.attempt > 0 for row in rows) >= 5
  again = make()
  assert [r for b in _take(again, 20) for r in b.rows] == rows


def test_a_set_that_cannot_be_opened_at_all_ends():
  def broken(index, seed):
    raise UserError("no such folder")

  plan = _plan(parts=[_part("a", 5, output_size=broken)], skip_errors=True)
  with pytest.raises(UserError, match="none of 1000 .* no such folder"):
    plan.next_batch()


def test_evaluation_keeps_the_row_of_what_cannot_be_opened():
  plan = _plan(
    planner.EvalPlan,
    [_part("a", 20, output_size=_broken)],
    skip_errors=True,
  )
  rows = [row for batch in plan.batches for row in batch.rows]
  assert sorted(r.index for r in rows if r.index >= 0) == list(range(20))
  assert plan.skipped == ["broken3.jpg: cut short", "broken13.jpg: cut short"]
