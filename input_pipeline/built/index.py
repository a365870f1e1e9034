"""The index of a built split: its videos and sentences, beside the records.

A built set is a folder of TensorFlow Datasets with one record for each frame,
in the order of this index, and the index of each split as a JSON file. Opening
a split reads the index alone; frame `t` of a video is record `first_record + t`
of its split.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source as source_lib

# Of the index and of the records; a reader takes no other.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class StoredVideo:
  """A video and where it is.

  Attributes:
    first_record: number of its first frame's record in the split.
    annotated: indices of the frames with ground truth, None if all have it.
  """

  video: source_lib.Video
  first_record: int
  annotated: tuple[int, ...] | None


@dataclasses.dataclass(frozen=True)
class Index:
  """Content of a split, but for its frames and masks.

  Attributes:
    videos: in the order of their records.
    expressions: in the official order.
    boxes: (x1, y1, x2, y2) in pixels of each expression's object, or None for
      no instance, where the raw source has boxes of its own; else None.
  """

  name: str
  split: str
  videos: tuple[StoredVideo, ...]
  expressions: tuple[source_lib.Expression, ...]
  boxes: tuple[tuple[float, ...] | None, ...] | None = None

  @property
  def num_records(self) -> int:
    return sum(len(stored.video.frames) for stored in self.videos)


def file_name(split: str) -> str:
  """Name of a split's index in the folder of the built set."""
  return f"index-{split}.json"


def make(source: source_lib.Source) -> Index:
  """The index of all videos that the source's expressions are about.

  Reads the header of each video's first frame. Which frames have ground truth
  follows from the expressions: none without object ids in the whole split,
  else the one that each names, or all.

  Raises:
    UserError: a video is missing.
  """
  expressions = tuple(
    source_lib.Expression(e.video, e.id, e.text, e.object_ids, e.frame)
    for e in source.expressions
  )
  public = any(e.object_ids for e in expressions)
  frames: dict[str, set[int] | None] = {}
  for e in expressions:
    named = frames.setdefault(e.video, set())
    if not public or named is None:
      continue
    if e.frame is None:
      frames[e.video] = None
    else:
      named.add(e.frame)
  videos, count = [], 0
  for name, annotated in frames.items():
    video = source.video(name)
    if annotated is not None:
      annotated = tuple(sorted(annotated))
    videos.append(StoredVideo(video, count, annotated))
    count += len(video.frames)
  found = [source.box(e) for e in source.expressions]
  boxes = None
  if any(box is not None for box in found):
    boxes = tuple(None if b is None else tuple(b.tolist()) for b in found)
  return Index(source.name, source.split, tuple(videos), expressions, boxes)


def to_json(index: Index) -> str:
  """JSON with one line for each video and each expression."""
  expressions = [
    {"video": e.video, "id": e.id, "text": e.text}
    | ({"object_ids": e.object_ids} if e.object_ids else {})
    | ({} if e.frame is None else {"frame": e.frame})
    for e in index.expressions
  ]
  if index.boxes is not None:
    for entry, box in zip(expressions, index.boxes):
      entry["box"] = box
  videos = [
    {
      "name": stored.video.name,
      "frames": stored.video.frames,
      "size": stored.video.size,
      "first_record": stored.first_record,
      "annotated": stored.annotated,
    }
    for stored in index.videos
  ]
  head = {"format": FORMAT, "name": index.name, "split": index.split}
  head = json.dumps(head, allow_nan=False).removesuffix("}")
  return (
    f'{head},\n"videos": {_lines(videos)},\n'
    f'"expressions": {_lines(expressions)}}}\n'
  )


def _lines(entries: Iterable[Mapping[str, Any]]) -> str:
  lines = (json.dumps(entry, allow_nan=False) for entry in entries)
  return "[\n" + ",\n".join(lines) + "\n]"


def from_json(text: str, what: str) -> Index:
  """The index that `to_json` wrote; `what` names the file in messages.

  Raises:
    UserError: of another format, or damaged.
  """
  try:
    content = json.loads(text)
    if content["format"] != FORMAT:
      raise UserError(
        f"{what}: format {content['format']!r}, expected {FORMAT}; build the "
        "data set again"
      )
    videos = tuple(
      StoredVideo(
        source_lib.Video(v["name"], tuple(v["frames"]), tuple(v["size"])),
        v["first_record"],
        None if v["annotated"] is None else tuple(v["annotated"]),
      )
      for v in content["videos"]
    )
    entries = content["expressions"]
    expressions = tuple(
      source_lib.Expression(
        e["video"],
        e["id"],
        e["text"],
        tuple(e.get("object_ids", ())),
        e.get("frame"),
      )
      for e in entries
    )
    boxes = None
    if entries and "box" in entries[0]:
      boxes = tuple(None if e["box"] is None else (*e["box"],) for e in entries)
    return Index(content["name"], content["split"], videos, expressions, boxes)
  except (ValueError, KeyError, TypeError, RecursionError) as e:
    if isinstance(e, UserError):
      raise
    raise UserError(
      f"{what}: damaged index ({type(e).__name__}: {e}); build the data set "
      "again"
    ) from e
