"""The live line of a run."""

import io
import logging
import sys

import pytest

from sgmg_jax import distributed
from sgmg_jax.training import progress


class Terminal(io.StringIO):
  def isatty(self):
    return True

  def screen(self):
    """The lines one sees; a carriage return starts the line anew."""
    lines = []
    for text in self.getvalue().split("\n"):
      shown = ""
      for part in text.split("\r"):
        shown = part + shown[len(part) :]
      lines.append(shown.rstrip())
    return lines


def _train(stream, monkeypatch):
  """Five steps, one of which is logged; what stands there before the end."""
  monkeypatch.setattr(sys, "stderr", stream)
  handler = logging.StreamHandler(stream)
  handler.setFormatter(logging.Formatter("sgmg: %(message)s"))
  logging.root.addHandler(handler)
  try:
    with progress.live_line(7, 12) as advance:
      for step in range(8, 13):
        advance()
        if step == 10:
          logging.getLogger("sgmg_jax").warning("step 10/12")
      during = stream.getvalue()
  finally:
    logging.root.removeHandler(handler)
  return during


def test_the_line_gives_way_to_the_log_and_goes(monkeypatch):
  terminal = Terminal()
  during = _train(terminal, monkeypatch)
  assert "training:" in during and "7/12" in during and " steps" in during
  assert terminal.screen() == ["sgmg: step 10/12", ""]


@pytest.mark.parametrize("is_leader", [True, False])
def test_only_the_first_process_has_one_and_on_terminals_alone(
  monkeypatch, is_leader
):
  monkeypatch.setattr(distributed, "is_leader", lambda: is_leader)
  stream = io.StringIO() if is_leader else Terminal()
  _train(stream, monkeypatch)
  assert stream.getvalue() == "sgmg: step 10/12\n"
