"""Batches of clips before tokenizing, and the examples they are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Frames and ground truth are padded to this in training.
PAD_MULTIPLE = 32
# The expression of a row that only fills its clip or its batch.
FILLING = ""


@dataclasses.dataclass(frozen=True)
class ClipBatch:
  """B clips of T frames; expression e of clip b is row b * E + e.

  Ground truth is that of K frames: all T of them, or, where only some are
  annotated, those that `annotated` names.

  Attributes:
    frames: uint8[B, T, H, W, 3], zero-padded to multiples of 32.
    size: int32[B, 2], (height, width) before padding.
    expressions: B * E sentences, or `FILLING`.
    boxes: float32[B * E, K, 4], (cx, cy, w, h) over the unpadded clip.
    masks: bool[B * E, K, H, W], padded as the frames.
    valid: bool[B * E, K], False where the object is not to be seen.
    annotated, labels, expression_valid: as of `types.Batch`, in NumPy; the
      annotated frames in ascending order.
    valid_row: bool[B], False for rows that only fill the last batch of an
      evaluation; None: all True.
    index: int64[B], each row's sample in the split, -1 where it only fills;
      None where samples have no numbers.
  """

  frames: np.ndarray
  size: np.ndarray
  expressions: list[str]
  boxes: np.ndarray
  masks: np.ndarray
  valid: np.ndarray
  annotated: np.ndarray | None = None
  labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  expression_valid: np.ndarray | None = None
  valid_row: np.ndarray | None = None
  index: np.ndarray | None = None


def normalise_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
  """Convert (x1, y1, x2, y2) pixels to float32 (cx, cy, w, h) of the frame."""
  x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)
  centers = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], -1)
  return (centers / np.array([width, height] * 2)).astype(np.float32)


def join(trees: Sequence[Any]) -> Any:
  """Concatenate equal trees of arrays (mappings, tuples) along axis 0."""
  first = trees[0]
  if isinstance(first, Mapping):
    return {name: join([tree[name] for tree in trees]) for name in first}
  if isinstance(first, tuple):
    parts = [join(part) for part in zip(*trees, strict=True)]
    return first._make(parts) if hasattr(first, "_make") else tuple(parts)
  return np.concatenate(trees)


def padded_size(height: int, width: int) -> tuple[int, int]:
  """Compute the smallest size of a batch that holds such frames."""
  multiple = PAD_MULTIPLE
  return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def pad(array: np.ndarray, bucket: tuple[int, int], axis: int) -> np.ndarray:
  """Pad with zeros below and to the right, `axis` and the next to a size.

  Raises:
    ValueError: the array is larger than the bucket.
  """
  size = array.shape[axis : axis + 2]
  if size[0] > bucket[0] or size[1] > bucket[1]:
    raise ValueError(f"{array.shape=}, {axis=}: larger than {bucket}")
  if size == tuple(bucket):
    return array
  shape = array.shape[:axis] + tuple(bucket) + array.shape[axis + 2 :]
  padded = np.zeros(shape, array.dtype)
  padded[(slice(None),) * axis + (slice(size[0]), slice(size[1]))] = array
  return padded


def pad_example(
  example: Mapping[str, Any], bucket: tuple[int, int], num_expressions: int
) -> dict[str, Any]:
  """Turn an example of the ops into one row of a `ClipBatch`.

  Args:
    example: frames uint8[T, h, w, 3], masks bool[e, K, h, w], boxes
      float[e, K, 4] in pixels, valid bool[e, K], expression_valid bool[e],
      annotated int[K], e expressions, size (h, w); and labels, if any, padded.
    bucket: (height, width) to pad to.
    num_expressions: E, to pad to.

  Returns:
    The same keys, as the fields of `ClipBatch` without their first axis, or
    with E in place of B * E.
  """
  height, width = example["size"]
  missing = num_expressions - len(example["expressions"])

  def fill(rows):
    if not missing:
      return rows
    empty = np.zeros((missing, *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, empty])

  return {
    "frames": pad(example["frames"], bucket, 1),
    "size": np.array([height, width], np.int32),
    "expressions": [*example["expressions"], *[FILLING] * missing],
    "boxes": fill(normalise_boxes(example["boxes"], height, width)),
    "masks": fill(pad(example["masks"], bucket, 2)),
    "valid": fill(np.asarray(example["valid"], bool)),
    "expression_valid": fill(example["expression_valid"]),
    "annotated": np.asarray(example["annotated"], np.int32),
    "labels": example.get("labels", {}),
  }


def empty_example(
  bucket: tuple[int, int],
  num_frames: int,
  num_annotated: int,
  num_expressions: int,
) -> dict[str, Any]:
  """Make a row that only fills a batch, see `pad_example`."""
  return pad_example(
    {
      "frames": np.zeros((num_frames, *bucket, 3), np.uint8),
      # Positions and boxes are relative to it: not zero.
      "size": bucket,
      "expressions": [],
      "boxes": np.zeros((0, num_annotated, 4), np.float32),
      "masks": np.zeros((0, num_annotated, *bucket), bool),
      "valid": np.zeros((0, num_annotated), bool),
      "expression_valid": np.zeros(0, bool),
      "annotated": np.arange(num_annotated),
    },
    bucket,
    num_expressions,
  )
