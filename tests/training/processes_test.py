"""Runs of several processes, as pods have them: 2 processes x 4 devices."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# Without chance: the devices of a mesh draw dropout masks of their own.
SMALL = [
  "--config.log_every=1",
  "--config.model.name=mu",
  "--config.model.dropout=0.0",
  "--config.model.text_layers=1",
]
STEPS = 3
TRAIN = [
  "train",
  "--config=refshapes:runlocal",
  *SMALL,
  # Few blocks and pixels: compiling takes most of the time here, and programs
  # are optimised little.
  "--config.model.depths=(1,1,1,1)",
  "--config.model.encoder_layers=1",
  "--config.model.decoder_layers=1",
  f"--config.total_steps={STEPS}",
  "--config.data.batch_size=8",
  "--config.data.expressions_per_clip=1",
  "--config.data.num_frames=1",
  "--config.loader.num_workers=0",
  "--config.model.drop_path=0.0",
  "--config.auxiliary=()",
  "--config.optimizer.name=adamw",
]
# The same loop with a model that compiles in seconds.
MANY = 50
PRETRAIN = [
  "pretrain",
  "--config=refshapes_text:runlocal",
  *SMALL,
  "--config.model.vocab_size=768",
  f"--config.phases=((6,24,{MANY},6e-4),)",
  "--config.checkpoint_every=10",
]


def start(command, workdir, *settings, processes=1, devices=8):
  """Starts the processes of a run; their output goes to files."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  xla = f"--xla_force_host_platform_device_count={devices}"
  environment = os.environ | {
    "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {xla}",
    "JAX_PLATFORMS": "cpu",
  }
  command = [sys.executable, "-m", "sgmg_jax", *command, *settings]
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


def test_processes_give_the_loss_curve_of_one(small_checkpoint, tmp_path):
  weights = small_checkpoint(tmp_path / "start")
  first = [f"--config.{x}={weights}" for x in ("init_from", "tokenizer.source")]
  two = tmp_path / "two"
  codes, outputs = end(start(TRAIN, two, *first, processes=2, devices=4))
  assert codes == [0, 0], outputs
  assert len(losses(two)) == STEPS
  for devices in (8, 1):
    alone = tmp_path / str(devices)
    codes, output = end(start(TRAIN, alone, *first, devices=devices))
    assert codes == [0], output
    # Sums over devices round otherwise; AdamW enlarges it from step to step.
    np.testing.assert_allclose(losses(two), losses(alone), rtol=2e-3)
  # The first process alone writes and speaks.
  assert "8 devices (data 8, fsdp 1) in 2 processes" in outputs[0]
  assert f"step {STEPS}/{STEPS}" in outputs[0] and "step" not in outputs[1]
  for name in ("model", "config.json", f"checkpoints/{STEPS}", "evals"):
    assert (two / name).exists(), name


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("runs") / "straight"
  codes, outputs = end(start(PRETRAIN, workdir, processes=2, devices=4))
  assert codes == [0, 0], outputs
  return workdir


def test_signals_and_deaths_end_all_processes_and_the_run_goes_on(
  straight, tmp_path
):
  workdir = tmp_path / "run"
  running = start(PRETRAIN, workdir, processes=2, devices=4)
  wait_for_step(running, workdir, 8)
  running[1].send_signal(signal.SIGTERM)
  codes, outputs = end(running)
  assert codes == [143, 143], outputs
  assert "is saved in" in outputs[0] and "Traceback" not in outputs[0]
  stopped = len(losses(workdir))
  assert 8 <= stopped < MANY

  running = start(PRETRAIN, workdir, processes=2, devices=4)
  wait_for_step(running, workdir, stopped + 12)
  running[1].kill()
  died = time.monotonic()
  code = running[0].wait(120)
  assert code not in (0, 2) and time.monotonic() - died < 60
  # The broken computation says so, or JAX does when no heartbeat comes.
  said = running[0].log.read_text()
  assert "lost the others" in said or "another task died" in said
  assert "Traceback" not in said
  done = len(losses(workdir))
  # Nothing of it shows in the numbers.
  assert losses(workdir) == losses(straight)[:done]

  # On another mesh the values are the same; what follows rounds otherwise.
  mesh = ("--config.mesh.data=4", "--config.mesh.fsdp=2")
  codes, outputs = end(start(PRETRAIN, workdir, *mesh, devices=8))
  assert codes == [0], outputs
  assert "going on from step" in outputs[0]
  np.testing.assert_allclose(losses(workdir), losses(straight), rtol=1e-2)


def test_what_one_process_refuses_ends_all(tmp_path):
  settings = ("--config.phases=((6,12,9,6e-4),)",)
  running = start(PRETRAIN, tmp_path / "run", *settings, processes=2, devices=4)
  codes, outputs = end(running, 120)
  # Who comes second may find the first gone.
  assert 2 in codes and 0 not in codes, outputs
  refused = outputs[codes.index(2)]
  assert "12 clips cannot be shared by 8 devices" in refused
