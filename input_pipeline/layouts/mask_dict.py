"""Random access to mask_dict.json, in which MeViS keeps its masks.

```
{"<anno_id>": [{"size": [height, width], "counts": "..."}, null, ...], ...}
```

The file has hundreds of MB and would take a multiple of that as Python
objects. So it is mapped into memory, searched once for where each annotation
starts, and only annotations asked for are parsed. Processes of one machine
share the mapped pages.
"""

from __future__ import annotations

import collections
import functools
import json
import mmap
import os
import pathlib
import re
import threading
from typing import Any

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems, run_lengths

IDS = range(10**9)
# COCO's run lengths are written in the characters 0 to o, which do not
# include the quotation mark: a number in quotes before a list is a key.
_KEY = re.compile(rb'"(\d+)"\s*:\s*\[')
_EXPECTED = 'an object of lists: {"<anno_id>": [RLE or null per frame]}'
# Parsed annotations kept, about 100 kB each.
_CACHED = 128


class MaskDict:
  """The masks of a split, by annotation and frame. Safe for threads.

  Attributes:
    path: of the file.
    annotation: called with an id, returns what the file has for it: a list
      of a code or None for each frame, if it is well-formed; None without
      such an annotation. Raises UserError if it is not JSON.
  """

  def __init__(
    self, path: str | os.PathLike, report: problems.Report = problems.stop
  ):
    """Note the file; it is searched when a mask is first asked for.

    Args:
      report: is told if there is no such file.
    """
    self.path = pathlib.Path(path)
    if not self.path.is_file():
      report(
        "file-missing", f"no such file, expected {_EXPECTED}", file=self.path
      )
    self._lock = threading.Lock()
    self._found: tuple[mmap.mmap, dict[int, tuple[int, int]]] | None = None
    self.annotation = functools.lru_cache(_CACHED)(self._parse)

  def decode(
    self,
    annotation: int,
    frame: int,
    size: tuple[int, int],
    what: str,
  ) -> np.ndarray | None:
    """The mask bool[H, W] of one frame, None if the file has none.

    Args:
      size: (height, width) of the frame.
      what: names video and expression in messages.

    Raises:
      UserError: no such annotation or frame, a broken one, or another size.
    """
    here = f"{self.path}: annotation {annotation} of {what}"
    masks = self.annotation(annotation)
    if masks is None:
      raise UserError(f"{here}: missing, expected its masks")
    if not isinstance(masks, list) or frame >= len(masks):
      raise UserError(
        f"{here}: not a list of masks for every frame, expected one for frame "
        f"{frame}"
      )
    if masks[frame] is None:
      return None
    try:
      return run_lengths.decode(masks[frame], size)
    except run_lengths.Malformed as e:
      raise UserError(
        f"{here}: frame {frame}: not a COCO run-length mask: {e}"
      ) from e

  def annotations(self) -> tuple[int, ...]:
    """Ids of all annotations, in the file's order."""
    return tuple(self._spans()[1])

  def _parse(self, annotation: int) -> Any:
    data, spans = self._spans()
    if annotation not in spans:
      return None
    start, stop = spans[annotation]
    # What follows the list is a comma, or the end of the file.
    text = data[start:stop].rstrip(b" \t\r\n,}")
    try:
      return json.loads(text)
    except (ValueError, RecursionError) as e:
      raise problems.Problem(
        "mask-corrupt",
        f"annotation {annotation} is not JSON ({e}), expected {_EXPECTED}",
        file=self.path,
      ) from e

  def _spans(self) -> tuple[mmap.mmap, dict[int, tuple[int, int]]]:
    """The mapped file and, by annotation, where its list is."""
    with self._lock:
      if self._found is None:
        with regular_file.open_binary(self.path) as file:
          if not os.fstat(file.fileno()).st_size:
            raise problems.Problem(
              "malformed", f"empty, expected {_EXPECTED}", file=self.path
            )
          data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        keys = [
          (int(m[1]), m.start(), m.end() - 1) for m in _KEY.finditer(data)
        ]
        if not keys:
          raise problems.Problem(
            "malformed", f"expected {_EXPECTED}", file=self.path
          )
        stops = [start for _, start, _ in keys[1:]] + [len(data)]
        spans = {k: (at, stop) for (k, _, at), stop in zip(keys, stops)}
        if len(spans) < len(keys):
          twice = collections.Counter(k for k, _, _ in keys).most_common(1)
          raise problems.Problem(
            "key-repeated",
            f"annotation {twice[0][0]} is there twice: all but the last would "
            "be lost",
            file=self.path,
          )
        self._found = data, spans
      return self._found
