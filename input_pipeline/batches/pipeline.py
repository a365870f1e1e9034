"""Batches of clips for training and evaluation from numpy loaders.

The plan (`planner`) decides which rows make up a batch; here they are
loaded in parallel, in order, and stacked: by tf.data in threads, or in worker
processes. The iterator keeps a plan of its own that advances with what is
taken rather than with what is prefetched: its position is that of the training.

TensorFlow sees no accelerator. It is imported when a pipeline starts.
"""

from __future__ import annotations

import functools
import logging
import os
import uuid
from collections.abc import Mapping
from typing import Any

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.input_pipeline import optional_packages
from sgmg_jax.input_pipeline.batches import config as config_lib
from sgmg_jax.input_pipeline.batches import rows as rows_lib
from sgmg_jax.input_pipeline.batches import workers

_logger = logging.getLogger(__name__)

Config, Share = config_lib.Config, config_lib.Share

# Of the function that a tf.data service runs, see `service`.
REMOTE_TOKEN = "pyfunc_0"


def create(
  config: Config,
  split: str,
  process_index: int = 0,
  process_count: int = 1,
  seed: int = 0,
  *,
  train: bool | None = None,
) -> Pipeline:
  """Open the data sets and plan their order.

  Args:
    config: see `Config`.
    split: of every data set.
    process_index: which share of each global batch.
    process_count: into how many equal shares batches are cut.
    seed: of the order and of all random draws.
    train: endless random order and augmentation, or everything once as it
      is; None: whether the split is "train".

  Raises:
    UserError: TensorFlow or a data set is missing, a data set is malformed,
      or processes cannot share the batch evenly.
  """
  if not _whole_batches(config):
    optional_packages.require("tensorflow", "training on data sets")
  if config.batch_size % process_count or process_index >= process_count:
    raise UserError(
      f"data.batch_size = {config.batch_size} over {process_count} processes, "
      f"of which this is number {process_index}: expected a multiple"
    )
  if train is None:
    train = split == "train"
  return Pipeline(
    config, Share(split, train, process_index, process_count, seed)
  )


def tensorflow():
  """Import the module, without accelerators.

  Raises:
    UserError: it is not installed, or cannot be imported.
  """
  optional_packages.require("tensorflow", "training on data sets")
  # It would report that it finds no GPU.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  try:
    import tensorflow as tf
  except ImportError as error:
    raise UserError(f"TensorFlow cannot be imported: {error}") from error

  for kind in ("GPU", "TPU"):
    tf.config.set_visible_devices([], kind)
  return tf


class Pipeline:
  """Iterator of `ClipBatch`es that knows where it is.

  Attributes:
    shapes: (height, width) of the frames of any batch.
    num_samples: in an epoch; None where there is no end.
    num_batches: in all, of an evaluation; None in training.
    global_batch_size: clips in a batch of all processes.
    rows_per_batch: of this process.
    lengths: (T, K, E), frames, annotated frames and expressions of every row.
    errors: messages of the records passed over so far.
  """

  def __init__(self, config: Config, share: Share):
    self._config, self._share = config, share
    self._loader = config_lib.open_loader(config, share)
    self._plan = config_lib.make_plan(config, share, self._loader)
    self.shapes = self._plan.buckets
    endless = share.train and config.endless
    self.num_samples = None if endless else len(self._loader.mixture)
    self.num_batches = None if share.train else len(self._plan.batches)
    self.global_batch_size = config.batch_size
    self.rows_per_batch = config.batch_size // share.process_count
    self.lengths = self._loader.lengths
    self.errors: list[str] = []
    self._position = self._plan.position()
    self._iterator = self._error = None
    for data_set in self._loader.data_sets:
      self._count(data_set.skipped)

  def position(self) -> dict[str, Any]:
    """Tell in JSON where the next batch starts, for `restore` on any number
    of processes."""
    return self._position

  def restore(self, position: Mapping[str, Any]) -> None:
    """Go to a position of this or another run.

    Raises:
      UserError: it belongs to other data, seed, batch size or buckets.
    """
    self._plan.restore(dict(position))
    self._position = self._plan.position()
    self._iterator = self._error = None

  def __iter__(self) -> Pipeline:
    return self

  def __next__(self) -> batch_lib.ClipBatch:
    """The next batch.

    Raises:
      StopIteration: an evaluation is complete.
      UserError: a record cannot be read, or too many were passed over.
    """
    if self._error:
      raise self._error
    try:
      batch = self._next()
    except UserError as error:
      self._error, self._iterator = error, None
      raise
    self._position = self._plan.position()
    return batch

  def close(self) -> None:
    """Stop loading."""
    self._iterator = None

  def _next(self):
    if self._iterator is None:
      self._iterator = self._start()
    planned = self._plan.next_batch()
    self._count(self._plan.skipped)
    self._plan.skipped.clear()
    values = next(self._iterator)
    for error in values["error"]:
      if error:
        raise UserError(error.decode())
    for lines in values["skipped"]:
      self._count(lines.decode().splitlines())
    rows = self._share.rows(planned)
    places = [[row.epoch, row.position] for row in rows]
    if values["place"].tolist() != places:
      raise UserError(
        f"data.service {', '.join(self._config.service)}: batches out of "
        "order; expected one worker behind each address"
      )
    return _to_batch(values, self.lengths)

  def _count(self, messages):
    for message in messages:
      if message not in self.errors:
        self.errors.append(message)
        _logger.warning("passed over: %s", message)
    if len(self.errors) > self._config.max_errors:
      raise UserError(
        f"more than data.max_errors = {self._config.max_errors} records could "
        f"not be read, the last: {self.errors[-1]}"
      )

  def _start(self):
    """Start loading ahead from the position."""
    config, share = self._config, self._share
    if config.service:
      data = self._distributed()
    else:
      plan = config_lib.make_plan(config, share, self._loader)
      plan.restore(self._position)
      if _whole_batches(config):
        job = config_lib.to_json(config, share)
        return workers.in_order(
          functools.partial(rows_lib.load_batch, job),
          # Until it raises StopIteration.
          iter(plan.next_batch, None),
          num_workers=config.num_workers,
          prefetch=config.prefetch,
        )
      data = self._local(rows_lib.RowStream(plan, self._loader, share))
    batches = data.prefetch(config.prefetch).as_numpy_iterator()
    return (dict(zip(rows_lib.FIELDS, values)) for values in batches)

  def _num_left(self):
    if self.num_batches is None:
      return 2**40
    return self.num_batches - self._plan.step

  def _local(self, stream):
    tf = tensorflow()
    data = tf.data.Dataset.range(self._num_left() * self.rows_per_batch)
    data = self._batched(
      data,
      lambda k: tf.numpy_function(stream.load, [k], rows_lib.output_types()),
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = self._config.num_threads
    return data.with_options(options)

  def _batched(self, data, load):
    data = data.map(
      load, num_parallel_calls=self._config.num_threads, deterministic=True
    )
    return data.batch(self.rows_per_batch, drop_remainder=True)

  def _distributed(self):
    tf = tensorflow()
    stride = len(self._config.service)
    shares = []
    for offset, address in enumerate(self._config.service):
      job = config_lib.to_json(
        self._config,
        self._share,
        id=uuid.uuid4().hex,
        position=self._position,
        offset=offset,
        stride=stride,
      )
      count = -(-(self._num_left() - offset) // stride)
      data = self._batched(
        tf.data.Dataset.range(count * self.rows_per_batch),
        lambda k, job=job: tf.raw_ops.PyFunc(
          input=[job, k], token=REMOTE_TOKEN, Tout=rows_lib.output_types()
        ),
      )
      # Every worker goes over all of its data set, and there is one.
      distribute = tf.data.experimental.service.distribute(
        tf.data.experimental.service.ShardingPolicy.OFF,
        f"grpc://{address}",
      )
      shares.append(data.apply(distribute))
    if stride == 1:
      return shares[0]
    turns = tf.data.Dataset.range(stride).repeat()
    return tf.data.Dataset.choose_from_datasets(shares, turns)


def _whole_batches(config):
  """Tell whether batches are loaded whole, not in rows by tf.data."""
  return not config.service and (config.num_workers or config.endless)


def _to_batch(values, lengths):
  num_frames, num_annotated, num_expressions = lengths

  def rows(name):
    """[B, E, ...] -> [B * E, ...]."""
    return values[name].reshape(-1, *values[name].shape[2:])

  return batch_lib.ClipBatch(
    frames=values["frames"],
    size=values["size"],
    expressions=[e.decode() for e in rows("expressions")],
    boxes=rows("boxes"),
    masks=rows("masks"),
    valid=rows("valid"),
    annotated=None if num_frames == num_annotated else values["annotated"],
    labels=values.get("labels", {}),
    expression_valid=(
      None if num_expressions == 1 else values["expression_valid"]
    ),
    valid_row=values["valid_row"],
    index=values["index"],
  )
