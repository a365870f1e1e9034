"""Collect everything that is wrong with predictions, to name it at once."""

from __future__ import annotations

import dataclasses
from typing import Final

from sgmg_jax.errors import UserError

# In the order in which they are shown.
KINDS: Final = {
  "missing": "missing",
  "size": "of another size",
  "encoding": "wrongly encoded",
  "surplus": "not asked for",
}
# Named of each kind; the rest is counted.
SHOWN: Final = 20


@dataclasses.dataclass
class Faults:
  """Faults by kind, in the order found.

  Attributes:
    found: by kind, of `KINDS`, messages that begin with a file's name, each
      with the number of files it stands for.
  """

  found: dict[str, list[tuple[str, int]]] = dataclasses.field(
    default_factory=lambda: {kind: [] for kind in KINDS}
  )

  def add(self, kind: str, message: str, number: int = 1) -> None:
    self.found[kind].append((printable(message), number))

  def __iadd__(self, other: Faults) -> Faults:
    for kind, messages in other.found.items():
      self.found[kind] += messages
    return self

  def __bool__(self) -> bool:
    return any(self.found.values())

  def number(self, kind: str) -> int:
    """Number of files with faults of a kind."""
    return sum(number for _, number in self.found[kind])

  def without(self, *kinds: str) -> Faults:
    """The faults of all other kinds."""
    return Faults(
      {k: [] if k in kinds else list(v) for k, v in self.found.items()}
    )

  def lines(self) -> list[str]:
    """Every kind with its number, and below it the first `SHOWN`."""
    lines = []
    for kind, found in self.found.items():
      if found:
        lines.append(f"{self.number(kind)} {KINDS[kind]}:")
        lines += [f"  {message}" for message, _ in found[:SHOWN]]
        more = sum(number for _, number in found[SHOWN:])
        if more:
          lines.append(f"  … and {more} more")
    return lines

  def summary(self) -> str:
    """One line: numbers, and the first of each kind."""
    return "; ".join(
      f"{self.number(kind)} {KINDS[kind]}, the first {found[0][0]}"
      for kind, found in self.found.items()
      if found
    )

  def raise_if_any(self, what: str, hint: str = "") -> None:
    """Raise an `Unusable` that begins with `what` unless there are none."""
    if self:
      end = f"; {hint}" if hint else ""
      raise Unusable(f"{what}: {self.summary()}{end}", self)


def printable(text: str) -> str:
  """The text with control characters, as names of files have, escaped."""
  return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Unusable(UserError):
  """Predictions that cannot be scored as they are.

  Attributes:
    faults: all of them; the message has numbers and the first of each kind.
  """

  def __init__(self, message: str, faults: Faults):
    super().__init__(message)
    self.faults = faults
