"""Reading, computing and writing overlap, in bounded memory."""

import threading
import time

import pytest

from sgmg_jax.evaluation import overlap


def stages(**others):
  """Three results an item; `done` collects."""
  found = []
  return found, dict(
    read=lambda item: 10 * item,
    compute=lambda prepared: (prepared + k for k in range(3)),
    write=lambda item, result: result + 1,
    done=lambda item, written: found.append((item, written)),
  ) | others


def test_items_are_done_in_order_with_all_their_results():
  def write(item, result):
    time.sleep(0.002 * (3 - result % 3))  # The first takes the longest.
    return result + 1

  found, functions = stages(write=write)
  overlap.run(range(4), **functions)
  assert found == [(i, [10 * i + 1, 10 * i + 2, 10 * i + 3]) for i in range(4)]


def test_an_item_without_results_is_done():
  found, functions = stages(compute=lambda prepared: iter(()))
  overlap.run(range(2), **functions)
  assert found == [(0, []), (1, [])]


def test_the_next_item_is_read_while_one_is_computed():
  second = threading.Event()

  def read(item):
    if item == 1:
      second.set()
    return item

  def compute(prepared):
    assert prepared or second.wait(10)
    yield prepared

  found, functions = stages(read=read, compute=compute)
  overlap.run(range(2), **functions)
  assert len(found) == 2


def test_few_results_wait_to_be_written():
  most, alive, lock = 0, 0, threading.Lock()

  def compute(prepared):
    nonlocal most, alive
    for _ in range(30):
      with lock:
        alive += 1
        most = max(most, alive)
      yield 0

  def write(item, result):
    nonlocal alive
    time.sleep(0.001)
    with lock:
      alive -= 1

  _, functions = stages(compute=compute, write=write)
  overlap.run([0], **functions)
  assert most <= 7


@pytest.mark.parametrize("stage", ["read", "compute", "write", "done"])
def test_an_error_of_any_stage_ends_the_run(stage):
  def fail(*_):
    raise OSError(stage)

  _, functions = stages(**{stage: fail})
  with pytest.raises(OSError, match=stage):
    overlap.run(iter(int, 1), **functions)  # Without end.


def test_usage_tells_how_long_the_device_waited():
  def compute(prepared):
    time.sleep(0.02)
    yield 0

  _, functions = stages(compute=compute, read=lambda item: time.sleep(0.06))
  usage = overlap.run(range(4), **functions)
  assert 0.4 < usage.idle_share < 0.9
  assert usage.busy < usage.wall


def test_what_is_written_is_noted_before_a_later_error():
  noted, written = [], threading.Event()

  def compute(item):
    if item == 1:
      assert written.wait(10)
      time.sleep(0.1)  # Until its future is done, too.
    if item == 2:
      raise ValueError("a bad item")
    yield item

  with pytest.raises(ValueError, match="a bad item"):
    overlap.run(
      range(3),
      read=lambda item: item,
      compute=compute,
      write=lambda item, result: written.set(),
      done=lambda item, results: noted.append(item),
    )
  assert noted == [0]
