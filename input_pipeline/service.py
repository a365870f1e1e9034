"""A tf.data service that loads batches for trainers on other machines.

  python -m sgmg_jax.input_pipeline.service --port=5050

Then `data.service=("host:5050",)` in the trainer's config. The service must
see the data under the same path. With several, list all: they make batches
in turn. Each is one dispatcher with one worker, for the order of batches must
not depend on which worker is faster; a trainer that finds them out of order
stops.

Python functions do not travel in TensorFlow graphs, only names of them. The
trainer's graph calls the first function that this process has registered
(`pipeline.REMOTE_TOKEN`) with a description of the work in JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import socket

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import config as config_lib
from sgmg_jax.input_pipeline import pipeline, rows


@functools.lru_cache(maxsize=32)
def _stream(job: bytes) -> rows.RowStream:
  """The rows of one pipeline, planned here as the trainer plans them."""
  job = json.loads(job)
  config = config_lib.Config(**job["config"])
  share = config_lib.Share(**job["share"])
  loader = config_lib.open_loader(config, share)
  plan = config_lib.make_plan(config, share, loader)
  plan.restore(job["position"])
  return rows.RowStream(
    plan, loader, share, offset=job["offset"], stride=job["stride"]
  )


def _load(job, k):
  try:
    stream = _stream(job)
  except UserError as error:
    config = config_lib.Config(**json.loads(job)["config"])
    return rows.error_row(error, config.buckets[0], config.num_frames, 1)
  return stream.load(k)


class Service:
  """A dispatcher and its worker, for as long as the object lives.

  Attributes:
    address: "host:port".
  """

  def __init__(self, port: int = 0, host: str = "localhost"):
    """Starts listening.

    Args:
      port: of the dispatcher; 0 takes a free one.
      host: under which trainers reach this machine.

    Raises:
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
    self._dispatcher = service.DispatchServer(
      service.DispatcherConfig(port=port)
    )
    dispatcher_address = self._dispatcher.target.removeprefix("grpc://")
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


def main() -> None:
  parser = argparse.ArgumentParser(
    prog="python -m sgmg_jax.input_pipeline.service",
    description="load batches for trainers on other machines",
  )
  parser.add_argument("--port", type=int, default=5050)
  parser.add_argument(
    "--host",
    default=socket.gethostname(),
    help="under which trainers reach this machine (default: %(default)s)",
  )
  args = parser.parse_args()
  try:
    service = Service(args.port, args.host)
  except UserError as error:
    parser.exit(2, f"{parser.prog}: error: {error}\n")
  print(f"serving at {service.address}", flush=True)
  service.join()


if __name__ == "__main__":
  main()
