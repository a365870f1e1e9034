"""A live line on the terminal between two lines of the log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from tqdm import tqdm
from tqdm.contrib import logging as tqdm_logging

from sgmg_jax import distributed


@contextlib.contextmanager
def live_line(first: int, last: int) -> Iterator[Callable[[], object]]:
  """Shows steps, their speed and the time left while the block runs.

  The line gives way to those of the log and is gone at the end. There is none
  where standard error is no terminal, nor of any process but the first.

  Args:
    first: steps that are done.
    last: steps in all.

  Yields:
    To be called after each step.
  """
  if not (distributed.is_leader() and sys.stderr.isatty()):
    yield lambda: None
    return
  with (
    tqdm(
      desc="training",
      initial=first,
      total=last,
      unit=" steps",
      # The last steps count, not those that compiled.
      smoothing=0.1,
      mininterval=0.5,
      leave=False,
      dynamic_ncols=True,
      file=sys.stderr,
    ) as line,
    tqdm_logging.logging_redirect_tqdm(),
  ):
    yield line.update
