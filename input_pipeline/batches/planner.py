"""The plan of an epoch: the samples of each batch, in order, undecoded.

A plan is a function of its arguments alone, so every process makes the whole
plan and takes its own rows of each batch: none needs to ask another.

Static shapes: a sample's final size is known before it is decoded, and it
goes into the smallest bucket (padded height and width) that holds it. A
training batch is complete when its bucket has enough samples. What is left in
the buckets at the end of an epoch stays there and is used in the next one:
no sample is lost or repeated.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.input_pipeline import seeds

# Number of samples of a part that is drawn without end.
ENDLESS = 2**62
# Samples tried in a row's place before giving up.
MAX_ATTEMPTS = 1000
# Batches of a `StreamPlan` of one seed; then come those of the next.
_STEPS = 1_000_000

Size = tuple[int, int]
Seed = tuple[int, int, int, int]


class Row(NamedTuple):
  """One sample of a plan: a place in an epoch, and what is there.

  `position` counts within the epoch's order; `index` is the sample's in the
  concatenated data sets, -1 in a row that only pads a batch; `attempt` is
  above 0 where earlier ones could not even be opened.
  """

  epoch: int
  position: int
  index: int
  attempt: int = 0


PADDING = Row(0, 0, -1)


class Batch(NamedTuple):
  """A global batch: its bucket's size and its rows."""

  bucket: Size
  rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Part:
  """One data set of a mixture.

  Attributes:
    output_size: (index, seed) -> (height, width) of the sample after all
      transforms, without decoding it.
    repeat: how often it is listed in the concatenation.
  """

  name: str
  num_samples: int
  output_size: Callable[[int, Seed], Size]
  repeat: int = 1


class Mixture:
  """Data sets one after the other, each `repeat` times."""

  def __init__(self, parts: Sequence[Part]):
    self.parts = tuple(parts)
    self._ends, self._owners = [], []
    total = 0
    for i, part in enumerate(self.parts):
      for _ in range(part.repeat):
        total += part.num_samples
        self._ends.append(total)
        self._owners.append(i)
    if not total:
      names = ", ".join(part.name for part in parts) or "none given"
      raise UserError(f"the data sets have no samples: {names}")

  def __len__(self) -> int:
    return self._ends[-1]

  def locate(self, index: int) -> tuple[int, int]:
    """Find a sample: (which part, its index in that)."""
    run = bisect.bisect_right(self._ends, index)
    owner = self._owners[run]
    return owner, index - (self._ends[run] - self.parts[owner].num_samples)

  def output_size(self, index: int, seed: Seed) -> Size:
    owner, inside = self.locate(index)
    return self.parts[owner].output_size(inside, seed)

  def redraw(self, seed: Seed) -> int:
    """Draw another index for an attempt after the first, uniformly."""
    return int(seeds.generator(*seed).integers(len(self)))


def check_buckets(buckets: Sequence[Sequence[int]]) -> tuple[Size, ...]:
  """Sort buckets by area.

  Raises:
    UserError: none, one twice, or sides that are no multiples of 32.
  """
  sizes = [tuple(int(side) for side in bucket) for bucket in buckets]
  if not sizes or len(set(sizes)) != len(sizes):
    raise UserError(f"data.buckets: expected distinct sizes, got {buckets}")
  for size in sizes:
    if len(size) != 2 or any(n < 1 or n % batch_lib.PAD_MULTIPLE for n in size):
      raise UserError(
        f"data.buckets: {size} is not a (height, width) of multiples of "
        f"{batch_lib.PAD_MULTIPLE}"
      )
  return tuple(sorted(sizes, key=lambda size: (size[0] * size[1], size)))


def fits(size: Size, bucket: Size) -> bool:
  return size[0] <= bucket[0] and size[1] <= bucket[1]


def choose_bucket(size: Size, buckets: Sequence[Size], what: str) -> Size:
  """Choose the smallest of `buckets`, sorted by area, that holds `size`.

  Raises:
    UserError: none does; `what` names the sample.
  """
  for bucket in buckets:
    if fits(size, bucket):
      return bucket
  raise UserError(
    f"{what}: {size[0]}x{size[1]} pixels after all transforms fit none of "
    f"data.buckets {list(buckets)}: add a larger one"
  )


class _Plan:
  """The common part of training and evaluation plans."""

  def __init__(
    self,
    mixture: Mixture,
    *,
    buckets: Sequence[Sequence[int]],
    batch_size: int,
    seed: int,
    skip_errors: bool = False,
    settings: Mapping[str, Any] | None = None,
  ):
    """See the class.

    Args:
      buckets: (height, width) of each, multiples of 32.
      seed: of the order and, with a sample's place, of all its draws.
      skip_errors: whether samples that cannot be opened are replaced rather
        than raised; `skipped` collects the messages.
      settings: JSON, what else decides what a sample gives.
    """
    self.mixture = mixture
    self.buckets = check_buckets(buckets)
    self.batch_size = batch_size
    self.seed = seed
    self.skipped: list[str] = []
    self.step = 0
    self._skip_errors = skip_errors
    # What a saved position must agree on.
    self._identity = {
      "kind": type(self).__name__,
      "seed": seed,
      "batch_size": batch_size,
      "buckets": [list(bucket) for bucket in self.buckets],
      "data": [[p.name, p.num_samples, p.repeat] for p in mixture.parts],
      "skip_errors": skip_errors,
      **json.loads(json.dumps(dict(settings or {}), allow_nan=False)),
    }

  def sample_seed(self, row: Row, attempt: int) -> Seed:
    return self.seed, row.epoch, row.position, attempt

  def _bucket(self, row: Row) -> Size | None:
    """Choose a bucket; None: the sample cannot be opened and is skipped."""
    try:
      size = self.mixture.output_size(
        row.index, self.sample_seed(row, row.attempt)
      )
    except UserError as error:
      if not self._skip_errors:
        raise
      self.skipped.append(str(error))
      return None
    owner, inside = self.mixture.locate(row.index)
    what = f"{self.mixture.parts[owner].name} sample {inside}"
    return choose_bucket(size, self.buckets, what)

  def position(self) -> dict[str, Any]:
    """Tell in JSON where the next batch starts, for any number of processes."""
    return {"step": self.step, "plan": self._identity}

  def restore(self, position: dict[str, Any]) -> None:
    """Go to a saved position.

    Raises:
      UserError: saved by a plan of other data, seed, batch size or buckets.
    """
    remedy = "use another workdir (and init_from to start from the run's model)"
    if "plan" not in position:
      raise UserError(
        f"cannot go on in the data: saved by another version; {remedy}"
      )
    for name, value in self._identity.items():
      saved = position["plan"].get(name)
      if saved != value:
        raise UserError(
          f"cannot go on in the data: saved with {name} = {saved!r}, now "
          f"{value!r}; {remedy}"
        )
    self.step = position["step"]


class TrainPlan(_Plan):
  """Endless batches; each epoch is one permutation of the mixture."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self._epoch, self._cursor = 0, 0
    self._pending: dict[Size, list[Row]] = {b: [] for b in self.buckets}
    self._order = self._permutation()

  def _permutation(self):
    return seeds.generator(self.seed, self._epoch).permutation(
      len(self.mixture)
    )

  def next_batch(self) -> Batch:
    """The next batch.

    Raises:
      UserError: a sample that no bucket holds, or whose video cannot be read.
    """
    while True:
      if self._cursor == len(self.mixture):
        self._epoch, self._cursor = self._epoch + 1, 0
        self._order = self._permutation()
      row = Row(self._epoch, self._cursor, int(self._order[self._cursor]))
      self._cursor += 1
      row, bucket = self._place(row)
      self._pending[bucket].append(row)
      if len(self._pending[bucket]) == self.batch_size:
        rows, self._pending[bucket] = self._pending[bucket], []
        self.step += 1
        return Batch(bucket, tuple(rows))

  def _place(self, row: Row) -> tuple[Row, Size]:
    while (bucket := self._bucket(row)) is None:
      if row.attempt == MAX_ATTEMPTS:
        raise UserError(
          f"none of {MAX_ATTEMPTS} samples could be opened, such as: "
          f"{self.skipped[-1]}"
        )
      attempt = row.attempt + 1
      index = self.mixture.redraw(self.sample_seed(row, attempt))
      row = row._replace(index=index, attempt=attempt)
    return row, bucket

  def position(self) -> dict[str, Any]:
    return super().position() | {
      "epoch": self._epoch,
      "cursor": self._cursor,
      "pending": [
        [list(bucket), [list(row) for row in rows]]
        for bucket, rows in self._pending.items()
      ],
    }

  def restore(self, position: dict[str, Any]) -> None:
    super().restore(position)
    self._epoch, self._cursor = position["epoch"], position["cursor"]
    self._pending = {
      tuple(bucket): [Row(*row) for row in rows]
      for bucket, rows in position["pending"]
    }
    self._order = self._permutation()


class StreamPlan(_Plan):
  """Endless batches of samples by number: none comes twice, nor in runs of
  other seeds."""

  def next_batch(self) -> Batch:
    """The next batch."""
    first = (self.seed * _STEPS + self.step) * self.batch_size
    self.step += 1
    numbers = range(first, first + self.batch_size)
    return Batch(self.buckets[0], tuple(Row(0, i, i) for i in numbers))


class EvalPlan(_Plan):
  """Every sample once; the last batch of each bucket is filled with
  `PADDING`, so that all processes get the same number of batches."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.batches = tuple(self._make_batches())

  def _make_batches(self) -> Iterator[Batch]:
    pending: dict[Size, list[Row]] = {b: [] for b in self.buckets}
    for index in range(len(self.mixture)):
      row = Row(0, index, index)
      # One that cannot be opened becomes a masked row, in any bucket.
      rows = pending[bucket := self._bucket(row) or self.buckets[0]]
      rows.append(row)
      if len(rows) == self.batch_size:
        yield Batch(bucket, tuple(rows))
        rows.clear()
    for bucket, rows in pending.items():
      if rows:
        padding = [PADDING] * (self.batch_size - len(rows))
        yield Batch(bucket, tuple(rows + padding))

  def next_batch(self) -> Batch:
    """The next batch.

    Raises:
      StopIteration: there is none.
    """
    if self.step == len(self.batches):
      raise StopIteration
    self.step += 1
    return self.batches[self.step - 1]
