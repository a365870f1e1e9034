"""Report faults of data files, and go on reading.

A reader calls `report(code, message, file=...)` for a fault that leaves the
rest usable. The default, `stop`, raises it: training ends at the first fault.
The doctor passes its list of findings instead, and so learns of all faults
from the very parsers that training reads with. Where nothing is usable,
readers raise a `Problem` themselves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import NoReturn

from sgmg_jax.errors import UserError


class Problem(UserError):
  """A fault of a data file; it reads "<file> <place>: <message>".

  Attributes:
    code: kind of fault, of those that the doctor knows.
    message: the fault; names the video and expression if there are such.
    where: any of "file" (or folder), "place" within it such as "line 3", and
      the names of the "video" and "expression".
  """

  def __init__(
    self,
    code: str,
    message: str,
    *,
    file: str | os.PathLike = "",
    place: str = "",
    **about: str,
  ):
    where = " ".join(filter(None, (str(file), place)))
    super().__init__(f"{where}: {message}" if where else message)
    self.code = code
    self.message = message
    self.where = {"file": file, "place": place, **about}


# Called with the arguments of `Problem`.
Report = Callable[..., None]


def stop(code: str, message: str, **where: str | os.PathLike) -> NoReturn:
  """Raise the `Problem`."""
  raise Problem(code, message, **where)


def warn(report: Report, message: str) -> None:
  """Log what is no fault, unless somebody looks for all that is unusual."""
  if report is stop:
    logging.warning("%s", message)
