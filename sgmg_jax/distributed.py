"""Several processes of one run: how they find each other, agree and end.

Each process sees all devices and runs the same program on its own. The first
one writes the files of a run. What one process alone learns, such as a signal,
must be agreed on before anybody acts on it.
"""

from __future__ import annotations

import collections
import contextlib
import glob
import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from sgmg_jax.errors import UserError, first_line

# A process that is silent for so long has died; the others then end, too.
_SECONDS_TO_DEATH: Final = 30
_SECONDS_TO_FOLLOW: Final = 3
_VARIABLES: Final = (
  "JAX_COORDINATOR_ADDRESS",
  "JAX_NUM_PROCESSES",
  "JAX_PROCESS_ID",
)
_FLAGS: Final = ("--coordinator", "--num_processes", "--process_id")


def initialize(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins the other processes, if there are any; before any computation.

  Without arguments the environment decides: JAX_COORDINATOR_ADDRESS and its
  fellows, a Slurm step, Open MPI, or a TPU slice of GKE or Cloud TPU VMs. JAX
  ends the process after five minutes if the others do not come.

  Args:
    coordinator: host:port of the first process.
    num_processes: how many there are.
    process_id: which one this is, from 0.

  Raises:
    UserError: some of the arguments are missing or wrong, or JAX refuses them.
  """
  given = [coordinator, num_processes, process_id]
  names = _FLAGS
  if given == [None] * 3:
    given, names = [os.environ.get(name) for name in _VARIABLES], _VARIABLES
  arguments: dict[str, Any] = {}
  if any(value is not None for value in given):
    arguments = _explicit(given, names)
    if arguments["num_processes"] == 1:
      return
  elif not _is_started_by_many():
    return
  if arguments:
    print(
      "sgmg: process {process_id} of {num_processes} meets the others at "
      "{coordinator_address}".format(**arguments),
      file=sys.stderr,
      flush=True,
    )
  # Gloo adds up over processes on CPUs.
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  try:
    jax.distributed.initialize(
      **arguments, heartbeat_timeout_seconds=_SECONDS_TO_DEATH
    )
  except ValueError as error:
    # A TPU that belongs to no slice.
    if not arguments and "coordinator_address" in str(error):
      return
    raise UserError(f"processes: {first_line(error)}") from error
  except RuntimeError as error:
    raise UserError(
      "processes: the others cannot be reached "
      f"({arguments or 'as the environment has it'}): {first_line(error)}"
    ) from error


def _explicit(values: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
  missing = [n for n, value in zip(names, values) if value is None]
  if missing:
    raise UserError(
      f"processes: {', '.join(missing)} missing, expected all of "
      f"{', '.join(names)} or none"
    )
  address, *numbers = values
  if not str(address).rpartition(":")[2].isdecimal() or ":" not in address:
    raise UserError(f"{names[0]}: expected host:port, got {address!r}")
  for name, number in zip(names[1:], numbers):
    if not str(number).isdecimal():
      raise UserError(f"{name}: expected a whole number, got {number!r}")
  count, index = map(int, numbers)
  if index >= count:
    raise UserError(
      f"{names[2]}: expected at least 0 and less than {names[1]}, {count}, got "
      f"{index}"
    )
  return dict(
    coordinator_address=address, num_processes=count, process_id=index
  )


def _is_started_by_many() -> bool:
  """Whether what started this process may have started others."""
  env = os.environ
  # An allocation alone starts nothing; a step does.
  if "SLURM_STEP_NODELIST" in env and "SLURM_PROCID" in env:
    return int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1
  if int(env.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
    return True
  if env.get("JAX_PLATFORMS", "tpu") not in ("", "tpu", "tpu,cpu"):
    return False
  chips = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
  return bool(chips and importlib.util.find_spec("libtpu"))


def is_leader() -> bool:
  """Whether this is the process that writes files."""
  return jax.process_index() == 0


def wait_for_others(what: str) -> None:
  """Returns once all processes have come here; `what` names the place."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


@contextlib.contextmanager
def leader_first(what: str) -> Iterator[None]:
  """Lets the leader through the block before the others enter it.

  Raises:
    UserError: in the others, if the leader raised something.
  """
  if not is_leader():
    if not from_leader(False):
      raise UserError(f"{what}: the first process failed, it says why")
    yield
    return
  try:
    yield
  except BaseException:
    from_leader(False)
    raise
  from_leader(True)


def from_leader(value: bool) -> bool:
  """The leader's value, in all processes."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.broadcast_one_to_all(np.bool_(value)))


class Agreement:
  """Answers in all processes alike whether one of them wants something.

  The answer is about the question before this one, so that the devices, which
  add up between two steps, have the next step to do when it is read.
  """

  def __init__(self):
    devices = np.array(jax.devices())
    mesh = jax.sharding.Mesh(devices, ("all",))
    split = jax.sharding.PartitionSpec("all")
    self._sharding = jax.sharding.NamedSharding(mesh, split)
    self._any = jax.jit(
      jnp.any,
      out_shardings=jax.sharding.NamedSharding(
        mesh, jax.sharding.PartitionSpec()
      ),
    )
    self._asked: collections.deque[jax.Array] = collections.deque()

  def ask(self, wanted: bool) -> bool:
    """Whether any process wanted it; all processes ask equally often."""
    mine = np.full(jax.local_device_count(), wanted)
    wants = jax.make_array_from_process_local_data(self._sharding, mine)
    self._asked.append(self._any(wants))
    return len(self._asked) > 1 and bool(self._asked.popleft())


def local(tree: Any) -> Any:
  """Whole arrays of global ones, on the first device of this process."""
  mesh = getattr(jax.tree.leaves(tree)[0].sharding, "mesh", None)
  if mesh is None or mesh.size == 1:
    return tree
  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  gathered = jax.jit(_same, out_shardings=whole)(tree)
  return jax.tree.map(lambda x: x.addressable_data(0), gathered)


def _same(tree: Any) -> Any:
  return tree


def is_loss(error: BaseException) -> bool:
  """Whether a computation or a wait broke off because a process is gone."""
  if not jax.distributed.is_initialized():
    return False
  if isinstance(error, jax.errors.JaxRuntimeError):
    return "RESOURCE_EXHAUSTED" not in str(error)
  # Of Gloo at dispatch, and of barriers.
  return isinstance(error, TimeoutError) or (
    isinstance(error, ValueError) and "Gloo" in str(error)
  )


def leave_together() -> None:
  """Ends all processes, which must all come here, with their own exit codes:
  without the first the others would be ended by a signal."""
  if jax.distributed.is_initialized():
    jax.distributed.shutdown()


def leave(code: int | None, error: Exception | None) -> None:
  """Ends one of several processes at once if it failed.

  The usual way out would wait for the others, which wait for this one.

  Args:
    code: its exit code; None: `error` was raised.
    error: what no command expects, such as a computation that breaks off when
      another process dies.
  """
  if code == 0 or not jax.distributed.is_initialized():
    return
  if error and is_loss(error):
    print(
      "sgmg: error: this process lost the others, one of which may have ended "
      f"({first_line(error, 200)}); the same command goes on from the last "
      "checkpoint",
      file=sys.stderr,
    )
  elif error:
    traceback.print_exception(error)
  sys.stdout.flush()
  sys.stderr.flush()
  if code == 2 and is_leader():
    # What it refuses the others refuse, too; without it they are aborted.
    time.sleep(_SECONDS_TO_FOLLOW)
  os._exit(code or 1)
