"""A built data set as a source: random access to frames in ArrayRecord files.

Needs no TensorFlow. Equal to the raw source that it was built from, except
that frames which come from the mp4 files of A2D's train split are JPEG there.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_data_source
from etils import epath
from google.protobuf.message import DecodeError

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import run_lengths, source
from sgmg_jax.input_pipeline.built import index as index_lib
from sgmg_jax.input_pipeline.sets import registry

# Records kept in memory: frames and masks of a clip are asked for in turn, in
# as many threads as there are.
_CACHED_RECORDS = 256

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def find(path: str | os.PathLike, name: str) -> epath.Path | None:
  """The folder with the records of a built set, None if there is none.

  Args:
    path: what `sgmg data build` had as --data_dir; or the data set's folder
      in it, or the version's in that.
    name: of the data set, such as "refcoco+".

  Raises:
    UserError: there is only what an interrupted build has left.
  """
  root = epath.Path(path)
  about = registry.about(name)
  inside = root / about.folder / (name if about.has_sisters else "")
  for folder in (inside, root):
    if not folder.is_dir():
      continue
    children = [child.name for child in folder.iterdir()]
    versions = [child for child in children if _VERSION.fullmatch(child)]
    for version in sorted(versions, key=_number, reverse=True):
      if _holds(folder / version, name):
        return folder / version
    left = [child for child in children if ".incomplete" in child]
    if left:
      raise UserError(
        f"{folder / left[0]}: left from an interrupted build of {name}; remove "
        f"it and run sgmg data build {name} again"
      )
  return root if _holds(root, name) else None


def is_built(path: str | os.PathLike, name: str) -> bool:
  """Whether a complete build of the data set lies there; see `find`.

  Raises:
    UserError: there is only what an interrupted build has left.
  """
  return find(path, name) is not None


class BuiltSource(source.Source):
  """One split of a built data set; reads only the frames asked for."""

  def __init__(self, path: str | os.PathLike, split: str, *, name: str):
    """Read the index; open no record file yet.

    Raises:
      UserError: no such build or split, or a file of it is missing.
    """
    folder = find(path, name)
    if folder is None:
      raise UserError(f"{path}: no built data set {name}")
    self.name = name
    self.split = split
    splits = _shard_lengths(folder)
    if split not in splits:
      raise UserError(
        f"{folder}: {name} has no split {split!r}, built were "
        f"{', '.join(sorted(splits))}"
      )
    index_file = folder / index_lib.file_name(split)
    index = index_lib.from_json(index_file.read_text(), str(index_file))
    self.expressions = index.expressions
    self._videos = {stored.video.name: stored for stored in index.videos}
    self._boxes = {
      (e.video, e.id): box
      for e, box in zip(index.expressions, index.boxes or ())
    }
    self._records = _records(folder, split, splits[split], index.num_records)
    self._record = functools.lru_cache(_CACHED_RECORDS)(self._read_record)

  def video(self, name: str) -> source.Video:
    return self._find(name).video

  def encoded_frame(self, video: str, index: int) -> bytes:
    return self._frame(video, index)["image"].bytes_list.value[0]

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    return {
      object_id: self._mask(video, runs)
      for object_id, runs in self._runs(video, index).items()
    }

  def read_masks(
    self, expression: source.Expression, indices: Sequence[int]
  ) -> np.ndarray:
    # Decodes only the objects asked for; the base class takes all.
    video = expression.video
    masks = np.zeros((len(indices), *self.video(video).size), bool)
    for row, index in enumerate(indices):
      runs = self._runs(video, index)
      for object_id in expression.object_ids:
        if object_id in runs:
          masks[row] |= self._mask(video, runs[object_id])
    return masks

  def box(self, expression: source.Expression) -> np.ndarray | None:
    box = self._boxes.get((expression.video, expression.id))
    return None if box is None else np.array(box, np.float32)

  def _find(self, video: str) -> index_lib.StoredVideo:
    if video not in self._videos:
      raise UserError(f"{self.name} {self.split}: no video {video!r}")
    return self._videos[video]

  def _frame(self, video: str, index: int) -> Any:
    stored = self._find(video)
    if not 0 <= index < len(stored.video.frames):
      raise UserError(
        f"{self.name} video {video!r}: frame {index}, expected "
        f"0..{len(stored.video.frames) - 1}"
      )
    frame = stored.video.frames[index]
    what = f"{self.name} {self.split} video {video!r} frame {frame!r}"
    try:
      record = self._record(stored.first_record + index)
    # What ArrayRecord raises; its errors have no class of their own.
    except (RuntimeError, IndexError, ValueError, DecodeError) as e:
      raise UserError(
        f"{what}: cannot read its record ({e}); build the data set again"
      ) from e
    # A cut file can give empty records, one from elsewhere other frames.
    if _text(record, "video") != video or _text(record, "frame") != frame:
      raise UserError(
        f"{what}: its record holds something else, the files are damaged or "
        "not of one build; build the data set again"
      )
    return record

  def _read_record(self, number: int) -> Any:
    # Takes half a second to import, without TensorFlow.
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example.FromString(self._records[number])
    return example.features.feature

  def _runs(self, video: str, index: int) -> dict[int, bytes]:
    """COCO run-length codes by object id."""
    annotated = self._find(video).annotated
    if annotated is not None and index not in annotated:
      raise UserError(
        f"{self.name} {self.split} video {video!r} frame {index}: no ground "
        "truth"
      )
    record = self._frame(video, index)
    ids = record["objects/id"].int64_list.value
    return dict(zip(ids, record["objects/rle"].bytes_list.value))

  def _mask(self, video: str, runs: bytes) -> np.ndarray:
    size = self.video(video).size
    try:
      return run_lengths.decode({"size": size, "counts": runs})
    except run_lengths.Malformed as e:
      raise UserError(
        f"{self.name} {self.split} video {video!r}: a stored mask is damaged "
        f"({e}); build the data set again"
      ) from e


def _text(record: Any, key: str) -> str:
  """Content of a field, "" if the record has none."""
  return b"".join(record[key].bytes_list.value).decode()


def _number(version: str) -> tuple[int, ...]:
  return tuple(map(int, version.split(".")))


def _holds(folder: epath.Path, name: str) -> bool:
  """Whether it is the version folder of a complete build of the set."""
  if ".incomplete" in folder.name:
    return False
  description = folder / "dataset_info.json"
  if not description.is_file():
    return False
  index = next(iter(folder.glob(index_lib.file_name("*"))), None)
  if index is None:
    return False
  # The name stands in the first line of an index, which may have megabytes.
  with index.open() as file:
    head = file.readline().strip().removesuffix(",") + "}"
  try:
    return json.loads(head)["name"] == name
  except (ValueError, KeyError, TypeError, RecursionError):
    return False


def _shard_lengths(folder: epath.Path) -> dict[str, list[int]]:
  """Number of records in each file of each split."""
  path = folder / "dataset_info.json"
  try:
    content = json.loads(path.read_text())
    if content["fileFormat"] != "array_record":
      raise UserError(
        f"{path}: records in format {content['fileFormat']!r}, expected "
        "array_record"
      )
    return {
      split["name"]: [int(length) for length in split["shardLengths"]]
      for split in content["splits"]
    }
  except (ValueError, KeyError, TypeError, RecursionError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(f"{path}: damaged ({e}); build the data set again") from e


def _records(
  folder: epath.Path, split: str, lengths: list[int], expected: int
) -> array_record_data_source.ArrayRecordDataSource:
  if sum(lengths) != expected:
    raise UserError(
      f"{folder}: split {split!r} has {sum(lengths)} records, its index says "
      f"{expected}; build the data set again"
    )
  present = {path.name for path in folder.iterdir()}
  dataset = json.loads((folder / "dataset_info.json").read_text())["name"]
  shards = []
  for i, length in enumerate(lengths):
    shard = f"{dataset}-{split}.array_record-{i:05d}-of-{len(lengths):05d}"
    if shard not in present:
      raise UserError(
        f"{folder / shard}: no such file, the build is not complete; copy or "
        "build the data set again"
      )
    # With the bounds no file is opened before it is read.
    shards.append(f"{folder / shard}[0:{length}]")
  return array_record_data_source.ArrayRecordDataSource(shards)
