"""Cut a stream of frames into clips for one pass of the model each."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def windows(
  frames: Iterable[T], window: int, whole_limit: int = 0
) -> Iterator[list[T]]:
  """Consecutive windows of `window` frames; the last may be shorter.

  A stream that ends within `whole_limit` frames comes as one window; the log
  says which it was. At most max(window, whole_limit + 1) frames are held at a
  time.
  """
  if window < 1:
    raise ValueError(f"{window=}, expected at least 1")
  # More than islice takes is all there is.
  window = min(window, sys.maxsize)
  frames = iter(frames)
  head = list(itertools.islice(frames, whole_limit + 1))
  if 0 < len(head) <= whole_limit:
    logging.info("one pass of %d frames", len(head))
    yield head
    return
  logging.info("windows of %d frames", window)
  # Consumed from the front, so that the buffer goes as its frames do.
  head.reverse()
  buffered = (head.pop() for _ in range(len(head)))
  frames = itertools.chain(buffered, frames)
  while chunk := list(itertools.islice(frames, window)):
    yield chunk
