"""Requests to stop: who saves, when, and what the process says."""

import os
import signal
import threading
import time

import pytest

from sgmg_jax.training import interrupt


class Exit:
  """Stands for `os._exit`."""

  def __init__(self):
    self.called = threading.Event()
    self.code = None

  def __call__(self, code):
    self.code = code
    self.called.set()


def test_at_rest_it_saves_and_ends_without_waiting(capsys):
  exit_process = Exit()
  stop = interrupt.Stop(exit_process)
  with stop.at_rest(lambda: "step 7 is saved"):
    stop.request(signal.SIGTERM)
    # The main thread would still be compiling.
    assert exit_process.called.wait(10)
  assert exit_process.code == 143
  assert capsys.readouterr().err.splitlines() == [
    "sgmg: SIGTERM: stopping; a second one stops without saving",
    "sgmg: SIGTERM: step 7 is saved",
  ]


def test_before_the_first_step_there_is_nothing_to_save(capsys):
  exit_process = Exit()
  interrupt.Stop(exit_process).request(signal.SIGINT)
  assert exit_process.called.wait(10) and exit_process.code == 130
  assert "SIGINT: nothing new to save" in capsys.readouterr().err


def test_busy_it_is_met_when_the_run_rests_again():
  exit_process = Exit()
  stop = interrupt.Stop(exit_process)
  with stop.at_rest(lambda: "step 0"):
    pass
  stop.request(signal.SIGINT)
  assert not exit_process.called.wait(0.1)
  with pytest.raises(interrupt.Interrupted, match="^SIGINT: step 1$") as error:
    with stop.at_rest(lambda: "step 1"):
      pytest.fail("it went on")
  assert error.value.exit_code == 130
  assert exit_process.code is None


def test_the_run_does_not_go_on_while_it_is_saved():
  events = []
  ended = threading.Event()
  saving = threading.Event()

  def save():
    saving.set()
    time.sleep(0.2)
    events.append("saved")
    return ""

  stop = interrupt.Stop(lambda code: ended.set())
  with stop.at_rest(save):
    stop.request(signal.SIGINT)
    assert saving.wait(10)
  events.append("goes on")
  assert ended.wait(10) and events == ["saved", "goes on"]


def test_a_save_that_fails_is_said(capsys):
  def save():
    raise OSError("disk full")

  exit_process = Exit()
  stop = interrupt.Stop(exit_process)
  with stop.at_rest(save):
    stop.request(signal.SIGINT)
    assert exit_process.called.wait(10)
  assert exit_process.code == 130
  assert "SIGINT: not saved (disk full)" in capsys.readouterr().err


def test_a_second_signal_ends_at_once_but_an_echo_does_not(monkeypatch):
  exit_process = Exit()
  stop = interrupt.Stop(exit_process)
  with stop.at_rest(lambda: ""):
    pass
  now = time.monotonic()
  clock = [now]
  monkeypatch.setattr(interrupt.time, "monotonic", lambda: clock[0])
  stop.request(signal.SIGINT)
  clock[0] = now + 0.1
  stop.request(signal.SIGINT)
  assert exit_process.code is None
  clock[0] = now + 2.0
  stop.request(signal.SIGTERM)
  assert exit_process.code == 143


def test_signals_become_requests_and_the_handlers_come_back():
  before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  with interrupt.watch() as stop:
    exit_process = stop._exit = Exit()
    with stop.at_rest(lambda: ""):
      os.kill(os.getpid(), signal.SIGTERM)
      assert exit_process.called.wait(10)
  assert exit_process.code == 143
  after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  assert after == before
  assert signal.set_wakeup_fd(-1) == -1


def test_ignored_signals_stay_ignored():
  handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    with interrupt.watch() as stop:
      exit_process = stop._exit = Exit()
      os.kill(os.getpid(), signal.SIGINT)
      assert not exit_process.called.wait(0.1)
      assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
  finally:
    signal.signal(signal.SIGINT, handler)


def test_it_saves_though_nobody_reads_what_it_says(monkeypatch):
  class Gone:
    def isatty(self):
      return True

    def write(self, text):
      raise OSError(5, "Input/output error")

    flush = write

  exit_process = Exit()
  monkeypatch.setattr(interrupt.sys, "stderr", Gone())
  with interrupt.watch() as stop:
    stop._exit = exit_process
    with stop.at_rest(lambda: ""):
      os.kill(os.getpid(), signal.SIGHUP)
      assert exit_process.called.wait(10)
  assert exit_process.code == 129


def test_deferred_it_only_waits_to_be_asked_for():
  exit_process = Exit()
  stop = interrupt.Stop(exit_process)
  stop.defer()
  assert not stop.is_requested
  stop.request(signal.SIGINT)
  with stop.at_rest(lambda: pytest.fail("one process alone saved")):
    assert not exit_process.called.wait(0.1)
  assert stop.is_requested
  assert str(stop.interrupted("step 3")) == "SIGINT: step 3"
  # A process that another's signal stops has none of its own.
  assert interrupt.Stop(exit_process).interrupted("step 3").exit_code == 143
