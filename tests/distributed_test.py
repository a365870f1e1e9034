"""How processes of a run find each other; runs of several are in
training/processes_test.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import distributed
from sgmg_jax.errors import UserError


@pytest.fixture
def calls(monkeypatch):
  """The arguments of every `jax.distributed.initialize`; no environment."""
  for name in (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "SLURM_STEP_NODELIST",
    "OMPI_COMM_WORLD_SIZE",
  ):
    monkeypatch.delenv(name, raising=False)
  calls = []
  monkeypatch.setattr(
    jax.distributed, "initialize", lambda **options: calls.append(options)
  )
  monkeypatch.setattr(jax.config, "update", lambda name, value: None)
  return calls


def test_one_process_joins_nobody(calls):
  distributed.initialize()
  distributed.initialize("host:1", 1, 0)
  assert not calls


def test_flags_and_variables(calls, monkeypatch):
  distributed.initialize("host:1", 4, 3)
  monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "host:1")
  monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
  monkeypatch.setenv("JAX_PROCESS_ID", "3")
  distributed.initialize()
  assert calls[0] == calls[1]
  assert calls[0]["coordinator_address"] == "host:1"
  assert (calls[0]["num_processes"], calls[0]["process_id"]) == (4, 3)
  # Within a minute the others must know of a death.
  assert calls[0]["heartbeat_timeout_seconds"] <= 30


@pytest.mark.parametrize(
  "environment, expected",
  [
    (dict(SLURM_NTASKS="8", SLURM_JOB_ID="1"), 0),
    (dict(SLURM_STEP_NODELIST="a", SLURM_PROCID="0"), 0),
    (
      dict(SLURM_STEP_NODELIST="a", SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="8"),
      1,
    ),
    (dict(OMPI_COMM_WORLD_SIZE="2"), 1),
  ],
  ids=str,
)
def test_clusters_are_found_out(environment, expected, calls, monkeypatch):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  distributed.initialize()
  assert len(calls) == expected


@pytest.mark.parametrize(
  "arguments, message",
  [
    (("host:1", 2, None), "--process_id missing"),
    ((None, 2, None), "--coordinator, --process_id missing"),
    (("host", 2, 0), "--coordinator: expected host:port, got 'host'"),
    (("host:1", 2, 2), "--process_id: .*less than --num_processes, 2, got 2"),
    (("host:1", -1, 0), "--num_processes: expected a whole number"),
  ],
  ids=str,
)
def test_arguments_that_fit_no_run(arguments, message, calls):
  with pytest.raises(UserError, match=message):
    distributed.initialize(*arguments)


def test_variables_are_named(calls, monkeypatch):
  monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
  with pytest.raises(UserError, match="JAX_COORDINATOR_ADDRESS, JAX_PROCESS"):
    distributed.initialize()


def test_others_that_cannot_be_reached(calls, monkeypatch):
  def fail(**options):
    raise RuntimeError("DEADLINE_EXCEEDED: no answer\nstack")

  monkeypatch.setattr(jax.distributed, "initialize", fail)
  with pytest.raises(UserError, match="host:1.*DEADLINE_EXCEEDED: no answer$"):
    distributed.initialize("host:1", 2, 1)


def test_agreement_tells_of_the_question_before():
  agreement = distributed.Agreement()
  answers = [agreement.ask(wanted) for wanted in (True, False, False)]
  assert answers == [False, True, False]


def test_local_copies_are_whole():
  mesh = jax.make_mesh(
    (2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  sharding = jax.sharding.NamedSharding(
    mesh, jax.sharding.PartitionSpec("data")
  )
  array = jax.device_put(jnp.arange(4), sharding)
  copy = distributed.local({"x": array})["x"]
  assert len(copy.devices()) == 1
  np.testing.assert_array_equal(copy, np.arange(4))


@pytest.fixture
def several(monkeypatch):
  """As if processes had joined; the exit codes of those that left."""
  codes = []
  monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
  monkeypatch.setattr(distributed.os, "_exit", codes.append)
  monkeypatch.setattr(distributed.time, "sleep", lambda seconds: None)
  return codes


def test_one_process_leaves_the_usual_way(monkeypatch):
  monkeypatch.setattr(distributed.os, "_exit", pytest.fail)
  distributed.leave(2, None)
  distributed.leave(None, ValueError("Gloo all-reduce failed"))


@pytest.mark.parametrize(
  "error, is_loss",
  [
    (ValueError("UNKNOWN: Gloo all-reduce failed: closed by peer"), True),
    (jax.errors.JaxRuntimeError("INTERNAL: heartbeat"), True),
    (TimeoutError("barrier"), True),
    (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 20G of 16G"), False),
    (ValueError("shapes"), False),
  ],
  ids=str,
)
def test_the_loss_of_a_process_is_told_from_faults(
  error, is_loss, several, capsys
):
  distributed.leave(None, error)
  said = capsys.readouterr().err
  assert ("lost the others" in said) == is_loss
  assert (type(error).__name__ in said) != is_loss
  assert several == [1]


def test_exit_codes_stay(several):
  distributed.leave(0, None)
  distributed.leave(143, None)
  distributed.leave(2, None)
  assert several == [143, 2]


def test_others_learn_that_the_leader_failed(monkeypatch):
  monkeypatch.setattr(distributed, "is_leader", lambda: False)
  with pytest.raises(UserError, match="tokenizer: the first process failed"):
    with distributed.leader_first("tokenizer"):
      pytest.fail("it went on")
