"""Read meta_expressions.json, in which video sets keep their sentences.

```
{"videos": {"<video>": {"expressions": {"<id>": {"exp": "a dog",
                                                 "obj_id": "1"}},
                        "frames": ["00000", "00005"]}}}
```

Ref-YouTube-VOS, Ref-DAVIS17 (converted) and MeViS share it. Objects are one
id or, where a sentence refers to several, a list of ids; they are missing
where the ground truth is not public. Order in the file is the data set's
official order.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, Literal

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import problems, source
from sgmg_jax.input_pipeline.layouts import json_file

_EXPECTED = (
  'an object "videos" of {"expressions": {id: {"exp": ...}}, "frames": [...]}'
)
# 0 is the background of a label map, which has 8 bits.
LABELS = range(1, 256)


def splits(root: pathlib.Path) -> tuple[str, ...]:
  """Names of the splits whose sentences lie below `meta_expressions/`.

  Raises:
    UserError: there are none.
  """
  folder = root / "meta_expressions"
  if not folder.is_dir():
    raise UserError(
      f"{folder}: no such folder, expected one in it for each split"
    )
  names = tuple(sorted(f.name for f in folder.iterdir() if f.is_dir()))
  if not names:
    raise UserError(f"{folder}: expected a folder for each split, found none")
  return names


@dataclasses.dataclass(frozen=True)
class MetaExpressions:
  """Content of the file.

  Attributes:
    frames: names of the frames of each video.
    expressions: of all videos.
    has_objects: whether the expressions name their objects.
  """

  frames: Mapping[str, tuple[str, ...]]
  expressions: tuple[source.Expression, ...]
  has_objects: bool

  def select(self, videos: Collection[str]) -> MetaExpressions:
    """Only these videos, in the order given."""
    by_video: dict[str, list[source.Expression]] = {v: [] for v in videos}
    for expression in self.expressions:
      if expression.video in by_video:
        by_video[expression.video].append(expression)
    return dataclasses.replace(
      self,
      frames={video: self.frames[video] for video in by_video},
      expressions=tuple(e for group in by_video.values() for e in group),
    )


def read(
  path: str | os.PathLike,
  *,
  report: problems.Report = problems.stop,
  **options: Any,
) -> MetaExpressions:
  """Content of a file; options as for `parse`.

  Raises:
    UserError: no such file, or as `parse`.
  """
  content = json_file.read(path, _EXPECTED, report=report)
  return parse(content, path, report=report, **options)


def parse(
  content: Mapping[str, Any],
  where: str | os.PathLike,
  *,
  objects: Literal["required", "optional"],
  key: str = "obj_id",
  ids: range = LABELS,
  no_target: bool = False,
  report: problems.Report = problems.stop,
) -> MetaExpressions:
  """Check the content and flatten it.

  What is left out when `report` returns: a sentence without text, object ids
  of another form, frames that are no list of names.

  Args:
    objects: "required" where every sentence must name its objects,
      "optional" where none or all do.
    key: of the object ids.
    ids: that are possible.
    no_target: whether a sentence may refer to no object: an empty list.
    report: is told of what is missing or of another type.

  Raises:
    UserError: no videos, or as `report`.
  """
  videos = content.get("videos")
  if not isinstance(videos, dict):
    raise problems.Problem("malformed", f"expected {_EXPECTED}", file=where)
  frames, expressions, empty = {}, [], []
  without: list[source.Expression] = []
  has_objects = objects == "required"

  def tell(code: str, message: str, **place: str) -> None:
    named = " ".join(f"{what} {name!r}" for what, name in place.items())
    report(code, f"{named}: {message}", file=where, **place)

  for video, entry in videos.items():
    entry = entry if isinstance(entry, dict) else {}
    names, sentences = entry.get("frames"), entry.get("expressions")
    if not isinstance(names, list) or not all(
      isinstance(n, str) for n in names
    ):
      names = None
    if not names:
      code = "malformed" if names is None else "frames-empty"
      tell(code, "expected a list of frame names in `frames`", video=video)
    frames[video] = tuple(names or ())
    if not isinstance(sentences, dict):
      tell("malformed", "expected an object `expressions`", video=video)
      continue
    for name, sentence in sentences.items():
      text = sentence.get("exp") if isinstance(sentence, dict) else None
      if not isinstance(text, str):
        message = "expected a sentence in `exp`"
        tell("expression-malformed", message, video=video, expression=name)
        continue
      found: tuple[int, ...] | None = ()
      if key in sentence:
        found = _ids(sentence[key], ids, no_target)
        has_objects = True
      if found is None:
        tell(
          "object-id-malformed",
          f"`{key}` is {sentence[key]!r}, expected an id from {ids.start} to "
          f"{ids.stop - 1} or a list of such",
          video=video,
          expression=name,
        )
      expression = source.Expression(video, name, text, found or ())
      expressions.append(expression)
      if key not in sentence:
        without.append(expression)
      if not text.strip():
        empty.append(expression.key)
  for e in without if has_objects else ():
    message = f"expected `{key}`, the id of its object"
    tell("object-id-missing", message, video=e.video, expression=e.id)
  if empty:
    problems.warn(
      report, f"{where}: {len(empty)} empty sentences, the first is {empty[0]}"
    )
  return MetaExpressions(frames, tuple(expressions), has_objects)


def _ids(value: Any, ids: range, no_target: bool) -> tuple[int, ...] | None:
  """Ids of "3", 3 or ["3", 4]; None of anything else."""
  values = value if isinstance(value, list) else [value]
  try:
    # "1" and 1 occur; int() would also take True and 1.5.
    found = tuple(int(str(v)) for v in values)
  except ValueError:
    return None
  usable = all(i in ids for i in found) and (found or no_target)
  return found if usable else None
