"""A tf.data service that loads batches for trainers on other machines.

  python -m sgmg_jax.input_pipeline.service --port=5050 --host=$(hostname)

Then `data.service=("host:5050",)` in the trainer's config. A service runs what
anyone sends who reaches its ports, without authentication. Without a host it
answers this machine alone; give one only in a network you trust.

The service must see the data under the same path. With several, list all: they
make batches in turn. Each is one dispatcher with one worker, for the order of
batches must not depend on which worker is faster; a trainer that finds them
out of order stops.

Python functions do not travel in TensorFlow graphs, only names of them. The
trainer's graph calls the first function that this process has registered
(`pipeline.REMOTE_TOKEN`) with a description of the work in JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from typing import Final

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import config as config_lib
from sgmg_jax.input_pipeline.batches import pipeline, rows

# Hosts that mean: this machine alone.
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@functools.lru_cache(maxsize=32)
def _stream(job: bytes) -> rows.RowStream:
  """The rows of one pipeline, planned here as the trainer plans them."""
  config, share = config_lib.from_json(job)
  loader = config_lib.open_loader(config, share)
  plan = config_lib.make_plan(config, share, loader)
  job = json.loads(job)
  plan.restore(job["position"])
  return rows.RowStream(
    plan, loader, share, offset=job["offset"], stride=job["stride"]
  )


def _load(job, k):
  try:
    stream = _stream(job)
  except UserError as error:
    config, _ = config_lib.from_json(job)
    return rows.error_row(
      error,
      config.buckets[0],
      config.num_frames,
      1,
      config.expressions_per_clip,
    )
  return stream.load(k)


class Service:
  """A dispatcher and its worker, for as long as the object lives."""

  def __init__(self, port: int = 0, host: str = "localhost"):
    """Starts listening.

    Args:
      port: of the dispatcher; 0 takes a free one.
      host: under which trainers reach this machine. Of `LOOPBACK`: no other
        machine reaches it; else it listens on all network interfaces.

    Raises:
      UserError: this platform cannot keep other machines out.
      RuntimeError: this process has used tf.data with Python functions
        before, whose names would be mixed up.
    """
    tf = pipeline.tensorflow()

    @tf.function(
      input_signature=[
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((), tf.int64),
      ]
    )
    def register(job, k):
      return tf.numpy_function(_load, [job, k], rows.output_types())

    # Kept: TensorFlow forgets functions that nobody holds.
    self._registered = register.get_concrete_function()
    tokens = [
      op.get_attr("token").decode()
      for op in self._registered.graph.get_operations()
      if op.type == "PyFunc"
    ]
    if tokens != [pipeline.REMOTE_TOKEN]:
      raise RuntimeError(f"registered as {tokens}: start a fresh process")
    service = tf.data.experimental.service
    listening = contextlib.nullcontext
    if host in LOOPBACK:
      listening = _on_loopback
    with listening():
      self._dispatcher = service.DispatchServer(
        service.DispatcherConfig(port=port)
      )
    dispatcher_address = self._dispatcher.target.removeprefix("grpc://")
    with listening():
      self._worker = service.WorkerServer(
        service.WorkerConfig(
          dispatcher_address=dispatcher_address,
          worker_address=f"{host}:%port%",
        )
      )
    self.address = f"{host}:{dispatcher_address.rpartition(':')[2]}"

  def join(self) -> None:
    """Waits for ever."""
    self._dispatcher.join()


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
  """Ties sockets that begin to listen within the context to loopback.

  TensorFlow listens on all interfaces, which can be corrected only after.

  Raises:
    UserError: it cannot be.
  """
  before = set(_listening())
  yield
  try:
    new = {key: fd for key, fd in _listening().items() if key not in before}
    if not new:
      raise OSError("found no listening socket")
    for descriptor in new.values():
      with socket.socket(fileno=os.dup(descriptor)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
  except (AttributeError, OSError) as error:
    raise UserError(
      "tf.data services listen on all network interfaces, without "
      f"authentication, and cannot be restricted here ({error}): expected "
      "--host, the name of this machine, in a network you trust"
    ) from error


def _listening() -> dict[tuple[int, int], int]:
  """This process's listening sockets: descriptor by (device, inode); empty
  where the system does not list them."""
  found = {}
  with contextlib.suppress(FileNotFoundError):
    for name in os.listdir("/proc/self/fd"):
      with contextlib.suppress(OSError):  # The listing's own is closed again.
        state = os.fstat(int(name))
        if not stat.S_ISSOCK(state.st_mode):
          continue
        with socket.socket(fileno=os.dup(int(name))) as candidate:
          internet = candidate.family in (socket.AF_INET, socket.AF_INET6)
          if internet and candidate.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
          ):
            found[state.st_dev, state.st_ino] = int(name)
  return found


def main() -> None:
  parser = argparse.ArgumentParser(
    prog="python -m sgmg_jax.input_pipeline.service",
    description="load batches for trainers on other machines",
  )
  parser.add_argument("--port", type=int, default=5050)
  parser.add_argument(
    "--host",
    default="localhost",
    help="name under which trainers reach this machine; anyone else who "
    "reaches its ports can use them as well, without authentication "
    "(default: %(default)s, this machine alone)",
  )
  args = parser.parse_args()
  try:
    service = Service(args.port, args.host)
  except UserError as error:
    parser.exit(2, f"{parser.prog}: error: {error}\n")
  whom = "this machine alone"
  if args.host not in LOOPBACK:
    whom = "anyone who reaches its ports, without authentication,"
  print(f"serving {whom} at {service.address}", flush=True)
  # TensorFlow waits without letting Python see Ctrl-C.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  service.join()


if __name__ == "__main__":
  main()
