"""Metric files and the guard against NaN."""

import json

import pytest
from tensorboard.backend.event_processing import event_file_loader

from sgmg_jax.errors import UserError
from sgmg_jax.training import metrics


def test_both_files_hold_the_scalars(tmp_path):
  writer = metrics.MetricWriter(tmp_path)
  writer.write_scalars(10, {"loss": 1.5, "rate": 0.25})
  writer.write_scalars(20, {"loss": 1.25})
  writer.close()
  assert metrics.read_metrics(tmp_path / "metrics.jsonl") == [
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


def test_resumed_run_writes_its_steps_once(tmp_path):
  writer = metrics.MetricWriter(tmp_path)
  for step in (10, 20, 30):
    writer.write_scalars(step, {"loss": 1.0})
  writer.close()
  writer = metrics.MetricWriter(tmp_path, resume_step=20)
  writer.write_scalars(30, {"loss": 2.0})
  writer.close()
  lines = metrics.read_metrics(tmp_path / "metrics.jsonl")
  assert [(m["step"], m["loss"]) for m in lines] == [(10, 1), (20, 1), (30, 2)]


def test_unfinished_last_line_is_dropped_and_others_are_errors(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
  assert metrics.read_metrics(path) == [{"step": 1}]
  path.write_text('{"ste\n' + json.dumps({"step": 1}) + "\n")
  with pytest.raises(UserError, match="metrics.jsonl:1"):
    metrics.read_metrics(path)


def test_guard_names_metric_and_steps():
  metrics.raise_on_nan(1, 5, {"loss": 1.0})
  for bad in (float("nan"), float("inf")):
    with pytest.raises(FloatingPointError, match="steps 6..10: loss_ce"):
      metrics.raise_on_nan(6, 10, {"loss_ce": bad, "loss": 1.0})
