"""The training loop: one process, one program, resumable at any time.

Starting the same command again goes on from the last checkpoint and gives,
bit for bit, what an uninterrupted run gives.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from ml_collections import ConfigDict

from sgmg_jax import precision as precision_lib
from sgmg_jax.checkpoints import stored_dtype
from sgmg_jax.errors import UserError
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import (
  auxiliary,
  checkpoint,
  compiled_step,
  data_parallel,
  evaluate,
  initial,
  interrupt,
  optimizer,
  parameter_summary,
  publish,
  run_tokenizer,
)
from sgmg_jax.training import (
  batches as batches_lib,
)
from sgmg_jax.training import metrics as metrics_lib
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import step as step_lib
from sgmg_jax.training import workdir as workdir_lib

_logger = logging.getLogger(__name__)


def _get_dtype(config: ConfigDict) -> Any:
  """The dtype of computation; parameters are float32 all the same."""
  if config.dtype not in ("float32", "bfloat16"):
    raise UserError(
      f"dtype: expected float32 or bfloat16, got {config.dtype!r}"
    )
  return jnp.dtype(config.dtype)


def plan_length(
  config: ConfigDict, steps_per_epoch: float | None
) -> tuple[int, optax.Schedule]:
  """Steps in all, and the learning rate's schedule; epochs become steps.

  Raises:
    UserError: epochs of data that have none.
  """
  total_steps, schedule = config.total_steps, config.schedule.to_dict()
  drop_epochs = schedule.pop("drop_epochs")
  if config.total_epochs or drop_epochs:
    if not steps_per_epoch:
      raise UserError(
        "total_epochs, schedule.drop_epochs: these data have no epochs; give "
        "total_steps and schedule.drop_steps"
      )
    schedule["drop_steps"] = (
      *schedule["drop_steps"],
      *(round(epoch * steps_per_epoch) for epoch in drop_epochs),
    )
  if config.total_epochs:
    total_steps = min(
      total_steps, math.ceil(config.total_epochs * steps_per_epoch)
    )
  return total_steps, optimizer.step_decay(**schedule)


def train(
  config: ConfigDict,
  workdir: str | os.PathLike,
  stop: interrupt.Stop | None = None,
) -> dict[str, float]:
  """Trains, evaluates and exports as the config says.

  Args:
    config: see `configs/`.
    workdir: folder of the run: `checkpoints/`, `metrics.jsonl`, TensorBoard
      events, `config.json`, `parameters.txt`, `tokenizer/`, and the exported
      `model/`.
    stop: how the run is told to save and stop, see `interrupt.watch`.

  Returns:
    The last evaluation, see `evaluate.make_evaluator`; empty where there is
    none.

  Raises:
    UserError: the config does not fit the model or the workdir, or another
      run uses that.
    FloatingPointError: a loss, or what is trained, became infinite or NaN.
    interrupt.Interrupted: `stop` was requested; the text says what is saved.
  """
  config = initial.resolve(config)
  with workdir_lib.use(workdir) as folder:
    return _train(config, folder, stop or interrupt.Stop())


def _train(
  config: ConfigDict, folder: pathlib.Path, stop: interrupt.Stop
) -> dict[str, float]:
  config_json = config.to_json_best_effort(indent=2)

  # Model, tokenizer and data.
  variant = variants.get_variant(**config.model)
  if config.tokenizer.max_tokens > variant.max_tokens:
    raise UserError(
      f"tokenizer.max_tokens = {config.tokenizer.max_tokens}: the model takes "
      f"at most {variant.max_tokens}"
    )
  # Or the export, after the last step, would be the first to refuse it.
  stored_dtype.check_dtype(config.export.dtype, "export.dtype")
  model = sgmg.SgMg(
    variant,
    dtype=_get_dtype(config),
    remat=config.remat,
    precision=precision_lib.check(config.precision),
  )
  tasks = auxiliary.load(config.auxiliary)
  source = batches_lib.open_data(config, auxiliary.label_names(tasks))
  checkpointer = checkpoint.Checkpointer(folder, keep=config.keep_checkpoints)
  if checkpointer.latest_step is not None:
    source.restore(checkpointer.read_position(), checkpointer.latest_step)
  tokenizer = run_tokenizer.get_tokenizer(
    folder / "tokenizer",
    variant,
    source=config.tokenizer.source,
    vocab_clips=config.tokenizer.vocab_clips,
  )

  # State: a checkpoint of this run if there is one, else a fresh start.
  params, given = initial.init_params(
    model,
    seed=config.seed,
    init_from=config.init_from,
    required=config.init_required,
    reinitialise=config.reinitialise,
    tokenizer=tokenizer,
  )
  params |= auxiliary.init_heads(tasks, config.seed, variant.width)
  total_steps, schedule = plan_length(config, source.steps_per_epoch)
  groups = [tuple(group) for group in config.optimizer.groups]
  tx = optimizer.make_optimizer(
    params,
    schedule,
    groups=groups,
    weight_decay=config.optimizer.weight_decay,
    grad_clip=config.optimizer.grad_clip,
    name=config.optimizer.name,
    heads=[task.NAME for task in tasks],
  )
  trainable = optimizer.trainable_mask(params, groups)
  if not config.freeze_random:
    initial.check_frozen(trainable, given)
  _logger.info(
    "parameters (each in parameters.txt):\n%s",
    parameter_summary.summarise(params, trainable),
  )
  state = state_lib.create(params, tx, use_ema=config.ema_decay > 0)
  if checkpointer.latest_step is not None:
    state = checkpointer.restore(state)
    _logger.info("going on from step %d", int(state.step))
  mesh = data_parallel.make_mesh(source.batch_size)
  state = jax.device_put(state, data_parallel.replicated(mesh))
  first = int(state.step)

  # The step; which shapes it meets is known, when it meets them is not.
  batches = source.start(tokenizer, data_parallel.split(mesh))
  text_trained = any(jax.tree.leaves(trainable["text_encoder"]))
  train_step = step_lib.make_train_step(
    model,
    tx,
    trainable=trainable,
    seed=config.seed,
    ema_decay=config.ema_decay,
    tasks=tasks,
    text_dropout=config.frozen_text_dropout or text_trained,
    axis=data_parallel.AXIS,
  )
  train_step = compiled_step.CompiledStep(
    data_parallel.shard_step(train_step, mesh), len(source.shapes)
  )
  _logger.info(
    "%d devices; batches of %d clips in %d shapes: %s",
    mesh.size,
    source.batch_size,
    len(source.shapes),
    ", ".join(f"{height}x{width}" for height, width in source.shapes),
  )
  evaluator = evaluate.make_evaluator(config, model, tokenizer)

  def evaluate_and_export(step):
    # On one device: replicated parameters would do the same work on each.
    params = auxiliary.without_heads(state.best_params, tasks)
    params = jax.device_put(params, mesh.devices.flat[0])
    results = {}
    if evaluator:
      results = evaluator(params)
      writer.write_scalars(step, {f"val/{k}": v for k, v in results.items()})
      _logger.info("step %d: val %s", step, evaluator.describe(results))
    publish.export(
      folder / "model",
      params,
      variant,
      tokenizer,
      name=config.export.name,
      licence=config.export.licence,
      dtype=config.export.dtype,
      preprocess=config.export.preprocess.to_dict(),
      config=json.loads(config_json),
      metrics=metrics_lib.read_metrics(folder / "metrics.jsonl"),
    )
    return results

  # Everything is accepted; before, the folder's files stay as they are.
  workdir_lib.write_text(folder / "config.json", config_json + "\n")
  workdir_lib.write_text(
    folder / "parameters.txt",
    parameter_overview.get_parameter_overview(params) + "\n",
  )
  writer = metrics_lib.MetricWriter(folder, resume_step=first)
  results = {}
  pending = []
  clock = time.time()

  def record(step):
    """Writes the means of the steps since it was last called, up to `step`."""
    nonlocal pending, clock
    fetched, pending = jax.device_get(pending), []
    means = {k: np.mean([m[k] for m in fetched]) for k in fetched[0]}
    metrics_lib.raise_on_nan(step - len(fetched) + 1, fetched)
    rate = len(fetched) / (time.time() - clock - train_step.seconds)
    means |= {
      "learning_rate": schedule(step - 1),
      "steps_per_second": rate,
      "truncated_sentences": source.truncations.take(),
    }
    writer.write_scalars(step, means)
    _logger.info(
      "step %d/%d: loss %.3f, %.2f steps/s",
      step,
      total_steps,
      means["total"],
      rate,
    )
    clock, train_step.seconds = time.time(), 0.0

  def save(step, position):
    # A broken state must not be saved.
    if pending:
      record(step)
    checkpointer.save(state, position)

  def save_to_stop(step, position):
    if step > first:
      save(step, position)
    return checkpointer.describe_last()

  try:
    for step in range(first + 1, total_steps + 1):
      with stop.at_rest(
        functools.partial(save_to_stop, step - 1, source.position)
      ):
        batch = next(batches)
        train_step.prepare(state, batch)
      state, metrics = train_step(state, batch)
      pending.append(metrics)
      last = step == total_steps
      if last or step % config.checkpoint_every == 0:
        save(step, source.position)
      elif step % config.log_every == 0:
        record(step)
      if last or step % config.eval.every == 0:
        with stop.at_rest(
          functools.partial(save_to_stop, step, source.position)
        ):
          results = evaluate_and_export(step)
        if not pending:
          clock = time.time()
    if first >= total_steps:
      _logger.info("nothing left to do: %d steps are done", first)
      results = evaluate_and_export(first)
  finally:
    batches.close()
    checkpointer.close()
    writer.close()
  return results
