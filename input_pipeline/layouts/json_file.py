"""Read JSON that a user put there: every fault names the file."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems


def read(
  path: str | os.PathLike,
  expected: str,
  *,
  kind: type = dict,
  report: problems.Report = problems.stop,
) -> Any:
  """The content of a JSON file.

  Args:
    expected: what it should hold, for messages.
    kind: of the outermost value, dict or list.
    report: is told of every key that an object has twice.

  Raises:
    UserError: no such file, not JSON, another kind of value, or as `report`.
  """
  try:
    content, repeated = parse(regular_file.read_bytes(path))
  except FileNotFoundError as e:
    raise problems.Problem(
      "file-missing", f"no such file, expected {expected}", file=path
    ) from e
  except OSError as e:
    raise problems.Problem(
      "malformed", f"cannot be read ({e.strerror})", file=path
    ) from e
  except (ValueError, RecursionError) as e:
    raise problems.Problem(
      "malformed", f"not JSON ({e}), expected {expected}", file=path
    ) from e
  if not isinstance(content, kind):
    raise problems.Problem(
      "malformed",
      f"holds a {type(content).__name__}, expected {expected}",
      file=path,
    )
  more = f" ({len(repeated)} such keys)" if len(repeated) > 1 else ""
  for place in repeated:
    report(
      "key-repeated",
      f"{name(place)} is there twice{more}: all but the last would be lost",
      file=path,
      **_described_by(place),
    )
  return content


def are_records(value: Any, fields: Mapping[str, Any]) -> bool:
  """Return whether a JSON value is a list of objects with these fields.

  Args:
    fields: type (or union of types) by name.
  """
  return isinstance(value, list) and all(
    isinstance(record, dict)
    and all(isinstance(record.get(name), kind) for name, kind in fields.items())
    for record in value
  )


def parse(data: bytes | str) -> tuple[Any, list[tuple[str | int, ...]]]:
  """Content of JSON, and where an object has one key twice.

  Python keeps the last value of such a key and says nothing.

  Returns:
    (content, places): keys and indices that lead to each repeated key. One
    inside of a value that is lost itself has no place.

  Raises:
    ValueError, RecursionError: not JSON.
  """
  # By identity of the object, which is kept alive, and in the file's order.
  repeated: dict[int, tuple[dict, list[str]]] = {}

  def as_dict(pairs):
    result = dict(pairs)
    if len(result) < len(pairs):
      counts = collections.Counter(key for key, _ in pairs)
      twice = [key for key, count in counts.items() if count > 1]
      repeated[id(result)] = result, twice
    return result

  content = json.loads(data, object_pairs_hook=as_dict)
  return content, list(_places(content, repeated)) if repeated else []


def name(place: Sequence[str | int]) -> str:
  """Names a place in messages: videos / "v1" / expressions is
  "videos.v1.expressions"."""
  return repr(".".join(map(str, place)))


def _described_by(place: tuple[str | int, ...]) -> dict[str, str]:
  """Video and expression of a place in an expression file."""
  match place:
    case ("videos", video, "expressions", expression, *_):
      return dict(video=video, expression=expression)
    case ("videos", video, *_):
      return dict(video=video)
  return {}


def _places(
  value: Any, repeated: Mapping[int, tuple[dict, list[str]]]
) -> Iterator[tuple[str | int, ...]]:
  if id(value) in repeated:
    yield from ((key,) for key in repeated[id(value)][1])
  if isinstance(value, dict):
    inside = value.items()
  else:
    inside = enumerate(value if isinstance(value, list) else ())
  for key, part in inside:
    yield from ((key, *place) for place in _places(part, repeated))
