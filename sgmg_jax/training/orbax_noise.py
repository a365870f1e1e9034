"""Keep Orbax' reports of a failed save out of a run's log.

A disk that is full fails every array by itself: each of Orbax' threads logs the
traceback, and tensorstore reports each array to an event loop that is closed by
then. The error is raised all the same, and whoever catches it says it once.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

_logger = logging.getLogger("absl")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
  """Drops these reports while the block runs."""
  report = sys.unraisablehook

  def pass_on(unraisable):
    if str(unraisable.exc_value) != "Event loop is closed":
      report(unraisable)

  sys.unraisablehook = pass_on
  _logger.addFilter(_is_news)
  try:
    yield
  finally:
    _logger.removeFilter(_is_news)
    sys.unraisablehook = report


def _is_news(record: logging.LogRecord) -> bool:
  return not (record.exc_info and "orbax" in record.pathname)
