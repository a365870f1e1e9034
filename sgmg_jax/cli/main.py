"""`sgmg COMMAND …`: find the command, report bad input in one line."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from typing import Final

import sgmg_jax
from sgmg_jax import errors
from sgmg_jax.cli import arguments

# Modules of this package: HELP, EPILOG, add_arguments(parser) and
# run(args) -> int.
# Imported one at a time, so that `sgmg convert` does not wait for training.
COMMANDS: Final = (
  "segment",
  "demo",
  "pretrain",
  "train",
  "compile",
  "evaluate",
  "score",
  "ablate",
  "submit",
  "convert",
  "data",
  "analyse",
  "bench",
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command and returns the exit code; 2 means bad input."""
  error = code = None
  try:
    code = _main(argv)
  except Exception as raised:
    error = raised
  # Only a command that may have several processes imports this.
  if distributed := sys.modules.get("sgmg_jax.distributed"):
    distributed.leave(code, error)
  if error:
    raise error
  return code


def _main(argv: Sequence[str] | None) -> int:
  argv = list(sys.argv[1:] if argv is None else argv)
  for name in ("stdout", "stderr"):
    # A stream that the caller closed is None, which libraries do not expect.
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, "w"))
    # Names and sentences may hold what the terminal cannot show.
    elif hasattr(stream := getattr(sys, name), "reconfigure"):
      stream.reconfigure(errors="backslashreplace")
  logging.basicConfig(format="sgmg: %(levelname)s: %(message)s")
  received: list[int] = []
  try:
    with _interrupted_by_signals(received):
      try:
        return _run(argv)
      finally:
        # Here and not at exit, where a failure could not be reported.
        sys.stdout.flush()
  except sgmg_jax.UserError as error:
    return _report(str(error), 2)
  except KeyboardInterrupt:
    code = 128 + (received or [signal.SIGINT])[-1]
    print(f"sgmg: {_STOPPED[code - 128]}", file=sys.stderr)
    return code
  except BrokenPipeError:
    # The reader, such as `head`, has what it wanted.
    _discard_stdout()
    return 128 + signal.SIGPIPE
  except OSError as error:
    distributed = sys.modules.get("sgmg_jax.distributed")
    if distributed and distributed.is_loss(error):
      raise
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      _discard_stdout()
    where = "" if error.filename is None else f"{error.filename}: "
    return _report(f"{where}{error.strerror or error}", 2)
  except MemoryError as error:
    return _report(f"out of memory {error}".rstrip(), 2)


def _run(argv: list[str]) -> int:
  if not argv or argv[0] not in COMMANDS:
    # Exits unless told nothing at all.
    _overview().parse_args(argv or ["--help"])
  name, *rest = argv
  command = _command(name)
  parser = argparse.ArgumentParser(
    prog=f"sgmg {name}", **arguments.about(command)
  )
  command.add_arguments(parser)
  args = parser.parse_args(rest)
  if "coordinator" in args:
    # Before anything is computed.
    from sgmg_jax import distributed

    distributed.initialize(
      args.coordinator, args.num_processes, args.process_id
    )
  if name != "data":
    _check_platforms()
  return command.run(args)


# What is said of a process that a signal has ended.
_STOPPED: Final = {
  signal.SIGINT: "interrupted",
  signal.SIGTERM: "terminated",
  signal.SIGHUP: "the terminal is gone",
}


@contextlib.contextmanager
def _interrupted_by_signals(received: list[int]) -> Iterator[None]:
  """SIGTERM and SIGHUP clean up as Ctrl-C does; `received` gets the signal.

  A command may handle them otherwise while it runs. Who ignores one, as nohup
  does, goes on ignoring it.
  """

  def interrupt(number, frame):
    received.append(number)
    raise KeyboardInterrupt

  numbers = [
    number
    for number in (signal.SIGTERM, signal.SIGHUP)
    if threading.current_thread() is threading.main_thread()
    and signal.getsignal(number) is signal.SIG_DFL
  ]
  for number in numbers:
    signal.signal(number, interrupt)
  try:
    yield
  finally:
    for number in numbers:
      signal.signal(number, signal.SIG_DFL)


def _check_platforms() -> None:
  """Raises a UserError if JAX cannot start what JAX_PLATFORMS asks for."""
  platforms = os.environ.get("JAX_PLATFORMS")
  if not platforms:
    return
  import jax

  try:
    jax.devices()
  # JAX stops at an assertion where a known plugin is not installed.
  except (RuntimeError, AssertionError) as error:
    reason = errors.first_line(error) or "no such device"
    raise sgmg_jax.UserError(
      f"JAX_PLATFORMS={platforms}: {reason}; unset it, or install what it "
      "names (pip install 'jax[cuda12]' or 'jax[tpu]')"
    ) from error


def _report(message: str, code: int) -> int:
  print(f"sgmg: error: {message}", file=sys.stderr)
  return code


def _discard_stdout() -> None:
  """Python would fail again when it flushes the rest at exit."""
  with contextlib.suppress(OSError, ValueError):
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _command(name: str) -> types.ModuleType:
  return importlib.import_module(f"sgmg_jax.cli.{name}")


def _overview() -> argparse.ArgumentParser:
  """The parser of `sgmg --help`, with each command's line."""
  commands = "\n".join(f"  {name:12}{_command(name).HELP}" for name in COMMANDS)
  parser = argparse.ArgumentParser(
    prog="sgmg",
    description=sgmg_jax.__doc__,
    epilog=f"commands:\n{commands}\n\n`sgmg COMMAND --help` has examples.",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "--version", action="version", version=f"sgmg_jax {sgmg_jax.__version__}"
  )
  parser.add_argument(
    "command", choices=COMMANDS, metavar="COMMAND", help="see below"
  )
  return parser


if __name__ == "__main__":
  sys.exit(main())
