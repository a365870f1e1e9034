"""SIGINT, SIGTERM and SIGHUP in a run: save, say so, exit.

Python calls signal handlers in the main thread, between two of its bytecodes,
and XLA compiles for minutes without one. So handlers do nothing, and a thread
reads what the interpreter writes down when a signal comes. Several processes
must agree on the step that they save together, see `Stop.defer`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Launchers pass on what the terminal has already sent to everybody.
_SECONDS_OF_ONE_SIGNAL: Final = 0.5


class Interrupted(KeyboardInterrupt):
  """A run stopped because it was asked to; its text says what is saved.

  Attributes:
    exit_code: of the process, by convention 128 and the signal's number.
  """

  def __init__(self, signum: int, message: str):
    super().__init__(message)
    self.exit_code = 128 + signum


class Stop:
  """A request to stop a run, which need not come.

  A run is either at rest, waiting for something that takes long, or busy. A
  request that meets it at rest saves at once and ends the process; one that
  meets it busy waits until it rests, that is, for a step at most.
  """

  def __init__(self, exit_process: Callable[[int], None] = os._exit):
    self._exit = exit_process
    self._requested: tuple[int, float] | None = None
    # Held while the request saves: the run must not go on.
    self._lock = threading.Lock()
    self._is_deferred = False
    self._save: Callable[[], str] | None = lambda: "nothing new to save"

  def defer(self) -> None:
    """Only notes requests from now on, for the run to ask for between steps:
    one process alone cannot save."""
    with self._lock:
      self._is_deferred, self._save = True, None

  @property
  def is_requested(self) -> bool:
    return self._requested is not None

  def interrupted(self, message: str) -> Interrupted:
    """The exception of a request, which another process may have got."""
    signum, _ = self._requested or (signal.SIGTERM, 0)
    return Interrupted(signum, f"{_name(signum)}: {message}")

  @contextlib.contextmanager
  def at_rest(self, save: Callable[[], str]) -> Iterator[None]:
    """Marks a block that changes nothing that `save` reads.

    `save` is called from any thread and tells in words what is saved.

    Raises:
      Interrupted: the request came before.
    """
    with self._lock:
      if not self._is_deferred:
        if self.is_requested:
          raise self.interrupted(save())
        self._save = save
    try:
      yield
    finally:
      with self._lock:
        self._save = None

  def request(self, signum: int) -> None:
    """Asks to stop; asking twice stops at once, without saving."""
    now = time.monotonic()
    if self._requested is None:
      self._requested = signum, now
      _print(f"{_name(signum)}: stopping; a second one stops without saving")
      threading.Thread(target=self._meet, args=(signum,), daemon=True).start()
    elif now - self._requested[1] > _SECONDS_OF_ONE_SIGNAL:
      _print(f"{_name(signum)}: stopped without saving")
      self._exit(128 + signum)

  def _meet(self, signum: int) -> None:
    with self._lock:
      if self._save is None:
        return
      try:
        message = self._save()
      except Exception as error:
        message = f"not saved ({error})"
      _print(f"{_name(signum)}: {message}")
      with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
      # Not sys.exit: the interpreter would not wait for the compiler to end
      # before it takes its memory away.
      self._exit(128 + signum)


@contextlib.contextmanager
def watch() -> Iterator[Stop]:
  """Turns signals into requests while the block runs.

  Those that are ignored, as nohup does with SIGHUP, stay so.
  """
  stop = Stop()
  if threading.current_thread() is not threading.main_thread():
    yield stop
    return
  reader, writer = os.pipe()
  os.set_blocking(writer, False)
  handlers = {}
  wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
  for signum in _SIGNALS:
    if signal.getsignal(signum) is not signal.SIG_IGN:
      handlers[signum] = signal.signal(signum, lambda *_: None)
  thread = threading.Thread(
    target=_forward, args=(reader, frozenset(handlers), stop), daemon=True
  )
  thread.start()
  try:
    yield stop
  finally:
    for signum, handler in handlers.items():
      signal.signal(signum, handler)
    signal.set_wakeup_fd(wakeup)
    os.close(writer)
    thread.join()
    os.close(reader)


def _forward(reader: int, signals: frozenset[int], stop: Stop) -> None:
  for byte in iter(functools.partial(os.read, reader, 1), b""):
    if byte[0] in signals:
      stop.request(byte[0])


def _name(signum: int) -> str:
  return signal.Signals(signum).name


def _print(message: str) -> None:
  # Whoever read it may be gone, and the run must be saved all the same.
  with contextlib.suppress(OSError, ValueError):
    # A terminal may show a live line, see `progress`.
    start = "\n" if sys.stderr.isatty() else ""
    print(f"{start}sgmg: {message}", file=sys.stderr, flush=True)
