"""Rows of batches: loaded by number from many threads, or a batch at once."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import batch as batch_lib
from sgmg_jax.input_pipeline.batches import config as config_lib
from sgmg_jax.input_pipeline.batches import planner

# The fields of a row, in order; the names are those of `ClipBatch` or below.
FIELDS = {
  "frames": "uint8",
  "size": "int32",
  "expressions": "string",
  "boxes": "float32",
  "masks": "bool",
  "valid": "bool",
  "expression_valid": "bool",
  "annotated": "int32",
  "valid_row": "bool",
  "index": "int64",
  # Where the plan has it: (epoch, position).
  "place": "int64",
  # Messages: of records passed over, one a line, and why the row failed.
  "skipped": "string",
  "error": "string",
}


def output_types() -> list[str]:
  """List the types of a row, as a tf.data function declares them."""
  return list(FIELDS.values())


def _load(loader, row, bucket):
  """Load the values of `FIELDS`, and labels where there are any."""
  example, skipped = loader.load(row, bucket)
  place = np.array([row.epoch, row.position])
  return _encode(example, place=place, skipped="\n".join(skipped))


def _encode(example, *, place, skipped="", error=""):
  example = example | {"place": place, "skipped": skipped, "error": error}
  for name, dtype in FIELDS.items():
    if dtype == "string":
      example[name] = np.char.encode(example[name], "utf-8")
  return example


def error_row(error: UserError, bucket: planner.Size, *lengths: int) -> list:
  """Make a row that carries an error; `lengths` are (T, K, E)."""
  empty = batch_lib.empty_example(bucket, *lengths)
  empty |= {"valid_row": np.bool_(False), "index": np.int64(-1)}
  row = _encode(empty, place=np.zeros(2, np.int64), error=str(error))
  return [row[name] for name in FIELDS]


class RowStream:
  """The rows of one process, loaded by many threads in any order.

  Row k is row k % b of the process's share (b rows) of batch
  offset + stride * (k // b).
  """

  def __init__(
    self,
    plan,
    loader,
    share: config_lib.Share,
    *,
    offset: int = 0,
    stride: int = 1,
  ):
    self._plan, self._loader, self._share = plan, loader, share
    self._offset, self._stride = offset, stride
    self._rows_per_batch = plan.batch_size // share.process_count
    self._lock = threading.Lock()
    self._planned: dict[int, tuple[planner.Row, planner.Size]] = {}
    self._num_batches = self._num_rows = 0

  def load(self, k: int) -> list[Any]:
    """Load the values of `FIELDS`; bad input is among them, not raised, so
    that it arrives in order and from any machine."""
    bucket = self._plan.buckets[0]
    try:
      row, bucket = self._take(int(k))
      values = _load(self._loader, row, bucket)
    except UserError as error:
      return error_row(error, bucket, *self._loader.lengths)
    return [values[name] for name in FIELDS]

  def _take(self, k):
    with self._lock:
      while k >= self._num_rows:
        batch = self._plan.next_batch()
        mine = self._num_batches % self._stride == self._offset
        self._num_batches += 1
        if mine:
          for row in self._share.rows(batch):
            self._planned[self._num_rows] = row, batch.bucket
            self._num_rows += 1
      return self._planned.pop(k)


@functools.lru_cache(maxsize=1)
def _open(job: str):
  config, share = config_lib.from_json(job)
  return config_lib.open_loader(config, share), share


def load_batch(job: str, batch: planner.Batch) -> dict[str, Any]:
  """Load a process's rows of a batch, in any process.

  Args:
    job: of `config.to_json`, the pipeline that the batch is of.

  Returns:
    The values of `FIELDS`, stacked, and "labels", joined.

  Raises:
    UserError: a record cannot be read.
  """
  loader, share = _open(job)
  rows = [_load(loader, row, batch.bucket) for row in share.rows(batch)]
  stacked = {name: np.stack([row[name] for row in rows]) for name in FIELDS}
  return stacked | {"labels": batch_lib.join([row["labels"] for row in rows])}
