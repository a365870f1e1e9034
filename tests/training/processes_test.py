"""Runs of several processes, as pods have them: 2 processes x 4 devices."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow

STEPS = 5
SETTINGS = [
  "--config=refshapes:runlocal",
  f"--config.total_steps={STEPS}",
  "--config.log_every=1",
  "--config.eval.every=100",
  "--config.data.batch_size=8",
  "--config.data.expressions_per_clip=1",
  # Without chance: the devices of a mesh draw dropout masks of their own.
  "--config.model.name=mu",
  "--config.model.dropout=0.0",
  "--config.model.drop_path=0.0",
  # Few blocks: nearly all the time here goes into compiling.
  "--config.model.depths=(1,1,1,1)",
  "--config.model.encoder_layers=1",
  "--config.model.decoder_layers=1",
  "--config.model.text_layers=1",
  "--config.model.vocab_size=768",
  "--config.auxiliary=()",
  "--config.optimizer.name=adamw",
]


def start(workdir, *settings, processes=1, devices=8):
  """Starts the processes of a run; their output goes to files."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  xla = f"--xla_force_host_platform_device_count={devices}"
  environment = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {xla}",
    "JAX_PLATFORMS": "cpu",
  }
  command = [sys.executable, "-m", "sgmg_jax", "train", *SETTINGS, *settings]
  running = []
  for index in range(processes):
    flags = [f"--workdir={workdir}"]
    if processes > 1:
      flags += [f"--coordinator=localhost:{port}", f"--process_id={index}"]
      flags += [f"--num_processes={processes}"]
    log = workdir.with_name(f"{workdir.name}.{index}.log")
    with log.open("w") as file:
      process = subprocess.Popen(
        [*command, *flags], stdout=file, stderr=file, env=environment
      )
    process.log = log
    running.append(process)
  return running


def end(running, seconds=400):
  """Waits for all; their exit codes and what they printed."""
  try:
    codes = [process.wait(seconds) for process in running]
  finally:
    for process in running:
      process.kill()
  return codes, [process.log.read_text() for process in running]


def wait_for_step(running, workdir, step):
  path = workdir / "metrics.jsonl"
  deadline = time.monotonic() + 400
  while time.monotonic() < deadline:
    if path.exists() and len(path.read_text().splitlines()) >= step:
      return
    for process in running:
      assert process.poll() is None, process.log.read_text()
    time.sleep(0.05)
  pytest.fail(f"step {step} was not reached")


def losses(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  entries = map(json.loads, lines)
  return [e["total"] for e in entries if "total" in e]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def two(folder):
  workdir = folder / "two"
  codes, outputs = end(start(workdir, processes=2, devices=4))
  assert codes == [0, 0], outputs
  return workdir, outputs


def test_processes_give_the_loss_curve_of_one(two, folder):
  workdir, outputs = two
  for name, devices in (("eight", 8), ("one", 1)):
    codes, output = end(start(folder / name, devices=devices))
    assert codes == [0], output
    assert len(losses(folder / name)) == STEPS
    # Sums over devices round otherwise; AdamW enlarges it from step to step.
    np.testing.assert_allclose(
      losses(workdir), losses(folder / name), rtol=2e-3, err_msg=name
    )
  # The first process alone writes and speaks.
  assert "8 devices (data 8, fsdp 1) in 2 processes" in outputs[0]
  assert "step 5/5" in outputs[0] and "step" not in outputs[1]
  for name in ("model", "config.json", "checkpoints/5", "evals/refshapes"):
    assert (workdir / name).exists(), name


def test_a_signal_to_one_process_stops_all_and_the_run_goes_on(two, folder):
  workdir = folder / "stopped"
  running = start(workdir, processes=2, devices=4)
  wait_for_step(running, workdir, 1)
  running[1].send_signal(signal.SIGTERM)
  codes, outputs = end(running)
  assert codes == [143, 143], outputs
  assert "is saved in" in outputs[0]
  assert len(losses(workdir)) < STEPS
  codes, outputs = end(start(workdir, processes=2, devices=4))
  assert codes == [0, 0], outputs
  assert losses(workdir) == losses(two[0])


def test_the_death_of_one_process_ends_the_others(two, folder):
  workdir = folder / "dead"
  running = start(workdir, processes=2, devices=4)
  wait_for_step(running, workdir, 2)
  running[1].kill()
  died = time.monotonic()
  code = running[0].wait(120)
  assert code not in (0, 2) and time.monotonic() - died < 60
  said = running[0].log.read_text().splitlines()
  assert "lost the others" in said[-1] and "Traceback" not in "".join(said)
  # On another mesh the state is the same; what comes after differs in rounding.
  settings = ("--config.mesh.data=4", "--config.mesh.fsdp=2")
  codes, outputs = end(start(workdir, *settings, devices=8))
  assert codes == [0], outputs
  np.testing.assert_allclose(losses(workdir), losses(two[0]), rtol=2e-3)


def test_what_one_process_refuses_ends_all(folder):
  workdir = folder / "refused"
  settings = ("--config.data.batch_size=12",)
  codes, outputs = end(start(workdir, *settings, processes=2, devices=4), 120)
  assert codes == [2, 2]
  assert "12 clips cannot be shared by 8 devices" in outputs[0]
  assert pathlib.Path(workdir).exists()
