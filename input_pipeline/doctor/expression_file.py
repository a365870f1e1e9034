"""Reads meta_expressions.json, of any data set that has one."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection
from typing import Any

from sgmg_jax.input_pipeline.doctor import files, findings, frames, plan
from sgmg_jax.input_pipeline.layouts import meta_expressions


@dataclasses.dataclass(frozen=True)
class Entry:
  """One expression.

  Attributes:
    object_ids: None where the file names none.
    raw: the JSON object it was read from.
  """

  id: str
  text: str
  object_ids: tuple[int, ...] | None
  raw: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Video:
  name: str
  frames: tuple[str, ...]
  entries: tuple[Entry, ...]

  def described(self) -> dict[int, list[str]]:
    """Expression ids by object id."""
    result = {}
    for entry in self.entries:
      for object_id in entry.object_ids or ():
        result.setdefault(object_id, []).append(entry.id)
    return result


def read(
  path: pathlib.Path,
  log: findings.Findings,
  *,
  train: bool,
  key: str = "obj_id",
  ids: range = meta_expressions.LABELS,
) -> dict[str, Video] | None:
  """The usable part of the file; None if it cannot be read at all.

  Args:
    train: every expression must name its objects. Otherwise all must, or none.
    key: of the object ids.
    ids: that are possible.
  """
  content = files.read_json(path, log)
  if content is None:
    return None
  videos = content.get("videos")
  if not isinstance(videos, dict):
    log.add("malformed", 'expected an object "videos"', file=path)
    return None
  result = {}
  for name, value in videos.items():
    if not isinstance(value, dict):
      log.add("malformed", "expected an object", file=path, video=name)
      continue
    listed = frames.check_list(value.get("frames"), log, file=path, video=name)
    entries = [
      _read_entry(id, raw, key, ids, log, path, name)
      for id, raw in _expressions(value, log, path, name).items()
    ]
    result[name] = Video(name, tuple(listed), tuple(filter(None, entries)))
  _check_object_ids(result.values(), key, log, path, train=train)
  return result


def sentences(
  videos: dict[str, Video], split: str, path: pathlib.Path
) -> list[plan.Sentence]:
  """All expressions of a file in common terms."""
  return [
    plan.Sentence(
      split, name, entry.id, entry.text, entry.object_ids, str(path)
    )
    for name, video in videos.items()
    for entry in video.entries
  ]


def _expressions(value, log, path, video) -> dict:
  expressions = value.get("expressions")
  if not isinstance(expressions, dict):
    log.add(
      "malformed", 'expected an object "expressions"', file=path, video=video
    )
    return {}
  if not expressions:
    log.add("expression-missing", "no sentence", file=path, video=video)
  return expressions


def _read_entry(id, raw, key, ids, log, path, video) -> Entry | None:
  where = dict(file=path, video=video, expression=id)
  if not isinstance(raw, dict) or not isinstance(raw.get("exp"), str):
    log.add("expression-malformed", 'expected a text "exp"', **where)
    return None
  object_ids = None
  if key in raw:
    object_ids = _object_ids(raw[key], ids)
    if object_ids is None:
      log.add(
        "object-id-malformed",
        f"{key} {raw[key]!r}, expected numbers from {ids.start} to "
        f"{ids.stop - 1}",
        **where,
      )
    elif not object_ids:
      log.add("expression-target", f"{key} is an empty list", **where)
  return Entry(id, raw["exp"], object_ids, raw)


def _object_ids(value, ids: range) -> tuple[int, ...] | None:
  """Ids of "3", 3 or ["3", 4]; None of anything else."""
  values = value if isinstance(value, list) else [value]
  try:
    # int() alone would take True and 1.5, too.
    found = tuple(int(str(v)) for v in values)
  except ValueError:
    return None
  return found if all(i in ids for i in found) else None


def _check_object_ids(
  videos: Collection[Video], key, log, path, *, train: bool
) -> None:
  some = any(key in e.raw for video in videos for e in video.entries)
  if not (train or some):
    return
  for video in videos:
    for entry in video.entries:
      if key not in entry.raw:
        log.add(
          "object-id-missing",
          f"no {key}" if train else f"no {key}, others of this file have it",
          file=path,
          video=video.name,
          expression=entry.id,
        )
