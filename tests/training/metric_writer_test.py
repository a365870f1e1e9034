"""Metric files and the guard against NaN."""

import io

import numpy as np
import PIL.Image
import pytest
from tensorboard.backend.event_processing import event_file_loader

from sgmg_jax.training import metric_writer


def test_both_files_hold_the_scalars(tmp_path):
  writer = metric_writer.MetricWriter(tmp_path)
  writer.write_scalars(10, {"loss": 1.5, "rate": 0.25})
  writer.write_scalars(20, {"loss": 1.25})
  writer.close()
  assert metric_writer.read_metrics(tmp_path / "metrics.jsonl") == [
    {"step": 10, "loss": 1.5, "rate": 0.25},
    {"step": 20, "loss": 1.25},
  ]
  (events,) = tmp_path.glob("events.out.tfevents.*")
  found = [
    (event.step, value.tag)
    for event in event_file_loader.EventFileLoader(str(events)).Load()
    for value in event.summary.value
  ]
  assert found == [(10, "loss"), (10, "rate"), (20, "loss")]


def test_pictures_go_to_tensorboard(tmp_path):
  picture = PIL.Image.new("RGB", (60, 40), (200, 10, 10))
  writer = metric_writer.MetricWriter(tmp_path)
  writer.write_images(5, {"val/own/0": picture})
  writer.close()
  assert metric_writer.read_metrics(tmp_path / "metrics.jsonl") == []
  (events,) = tmp_path.glob("events.out.tfevents.*")
  (event,) = (
    event
    for event in event_file_loader.EventFileLoader(str(events)).Load()
    if event.summary.value
  )
  (value,) = event.summary.value
  assert (event.step, value.tag) == (5, "val/own/0")
  # The loader turns images of the first format into those of the second.
  width, height, encoded = value.tensor.string_val
  assert (width, height) == (b"60", b"40")
  shown = PIL.Image.open(io.BytesIO(encoded))
  np.testing.assert_allclose(np.asarray(shown)[20, 30], (200, 10, 10), atol=3)


def test_resumed_run_writes_its_steps_once(tmp_path):
  writer = metric_writer.MetricWriter(tmp_path)
  for step in (10, 20, 30):
    writer.write_scalars(step, {"loss": 1.0})
  writer.close()
  writer = metric_writer.MetricWriter(tmp_path, resume_step=20)
  writer.write_scalars(30, {"loss": 2.0})
  writer.close()
  lines = metric_writer.read_metrics(tmp_path / "metrics.jsonl")
  assert [(m["step"], m["loss"]) for m in lines] == [(10, 1), (20, 1), (30, 2)]


def test_lines_that_cannot_be_read_stop_nothing_and_are_kept(tmp_path, caplog):
  path = tmp_path / "metrics.jsonl"
  bad = [b'{"ste', b"\xff\xfe", b"\0\0\0", b"[1]", b'{"loss": 1.0}']
  bad += [b'{"step": "2"}', b'{"step": 2, "loss": "x"}']
  bad += [b'{"step": 2, "loss": NaN}', b'{"step": 3, "lo']
  good = b'{"step": 1, "loss": 0.5}'
  path.write_bytes(b"\n".join([bad[0], good, b"", *bad[1:]]))
  assert [m["step"] for m in metric_writer.read_metrics(path)] == [1]
  assert metric_writer.read_metrics(tmp_path / "none.jsonl") == []
  metric_writer.MetricWriter(tmp_path, resume_step=5).close()
  assert path.read_bytes() == good + b"\n"
  aside = tmp_path / "metrics.unreadable"
  assert aside.read_bytes() == b"".join(line + b"\n" for line in bad)
  assert "moved 9 unreadable lines to metrics.unreadable" in caplog.text
  # A second time adds to what is there.
  with path.open("ab") as file:
    file.write(b"more")
  metric_writer.MetricWriter(tmp_path, resume_step=5).close()
  assert aside.read_bytes().endswith(bad[-1] + b"\nmore\n")


def test_means_name_metric_and_step_of_what_is_not_finite():
  good = {"loss": 1.0, "loss_ce": 2.0, "skipped": 0.0}
  three = good | {"loss": 3.0}
  assert metric_writer.means_of(1, [good, three]) == {
    "loss": 2.0,
    "loss_ce": 2.0,
    "skipped": 0,
  }
  for value in (float("nan"), float("inf")):
    bad = good | {"loss_ce": value}
    with pytest.raises(FloatingPointError, match="in step 8: loss_ce$"):
      metric_writer.means_of(6, [good, good, bad, bad | {"loss": value}])
    skipped = bad | {"skipped": 1.0}
    assert metric_writer.means_of(6, [three, skipped])["loss"] == 3.0
    assert metric_writer.means_of(6, [skipped, skipped]) == {"skipped": 2}
