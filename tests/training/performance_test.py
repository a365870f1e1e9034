"""Speed and memory as a run logs them."""

import jax
import numpy as np
import pytest

from sgmg_jax.training import performance


class Output:
  """An array that is still computed, or not."""

  def __init__(self, ready):
    self._ready = ready

  def is_ready(self):
    return self._ready


@pytest.fixture
def now():
  """The time, in a list."""
  return [100.0]


@pytest.fixture
def clock(now):
  return performance.Clock(lambda: now[0])


def test_time_is_shared_between_steps_and_waiting(clock, now):
  for ready in (True, False):  # The second wait costs the devices nothing.
    with clock.waiting({"total": Output(ready)}):
      now[0] += 1
  with clock.paused():
    now[0] += 50
  now[0] += 5
  with clock.saving():
    now[0] += 3
  for _ in range(5):  # Two sentences of each clip.
    clock.count({"frames": np.zeros((8, 3)), "tokens": np.zeros((16, 2))})
  numbers = clock.read()
  assert numbers == {
    "speed/steps_per_second": 0.5,
    "speed/step_seconds": 2.0,
    "speed/examples_per_second": 4.0,
    "speed/data_wait": 0.1,
    "speed/checkpoint_seconds": 3.0,
  }
  assert performance.remaining(3600, numbers) == "2:00:00"
  now[0] += 4
  # Nothing is left of what was read.
  clock.count([np.zeros(8)])
  again = clock.read()
  assert again["speed/step_seconds"] == 4 and again["speed/data_wait"] == 0
  assert again["speed/checkpoint_seconds"] == 0


def test_a_wait_that_ends_in_an_error_ends_it(clock):
  with pytest.raises(StopIteration), clock.waiting():
    next(iter(()))


def test_memory_of_the_fullest_device(monkeypatch):
  class Device:
    def __init__(self, **stats):
      self._stats = stats

    def memory_stats(self):
      return self._stats or None

  devices = [
    Device(bytes_in_use=2**30, peak_bytes_in_use=3 * 2**30),
    Device(bytes_in_use=2**31),
    Device(),
  ]
  monkeypatch.setattr(jax, "local_devices", lambda: devices)
  assert performance.device_memory() == {
    "memory/now_gib": 2.0,
    "memory/peak_gib": 3.0,
  }
  monkeypatch.setattr(jax, "local_devices", lambda: devices[2:])
  assert performance.device_memory() == {}
