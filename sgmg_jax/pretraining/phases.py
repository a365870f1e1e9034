"""Pre-training of a part of the model, resumable: the loop and the step.

What is trained, on what and to what end is a `Task`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from sgmg_jax import precision, types
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.training import (
  checkpoint,
  compiled_step,
  data_parallel,
  interrupt,
  optimizer,
  publish,
)
from sgmg_jax.training import metrics as metrics_lib
from sgmg_jax.training import state as state_lib
from sgmg_jax.training import workdir as workdir_lib

_logger = logging.getLogger(__name__)

Scalars = dict[str, jax.Array]


class Phase(NamedTuple):
  """A part of the run; in each the learning rate rises and falls once.

  Attributes:
    num_frames: of a clip; a single frame teaches no motion.
    batch_size: clips, or sentences.
    steps: how long.
    learning_rate: the highest.
  """

  num_frames: int
  batch_size: int
  steps: int
  learning_rate: float


@dataclasses.dataclass(frozen=True)
class Task:
  """What is pre-trained and how.

  Attributes:
    part: of the model, a key of `expected_shapes.PATHS`.
    params: at the start: the modules of the model under the part's name, and
      `heads`, thrown away at the end.
    objective: (params, batch, rngs, total) -> (loss, metrics), both this
      device's share; inside, `total` sums over devices.
    batches: (phase, start) -> the phase's batches from step `start` on, without
      end: trees of arrays whose first axis is the batch's.
    progress: the metrics' means -> words for the log.
    tokenizer: that the part was trained with; None without text.
  """

  part: str
  params: types.Params
  objective: Callable[..., tuple[jax.Array, Scalars]]
  batches: Callable[[Phase, int], Iterator[Any]]
  progress: Callable[[dict[str, float]], str]
  tokenizer: Any = None


def read_phases(
  entries: Sequence[Sequence[float]], warmup_steps: int
) -> list[Phase]:
  """Checks the phases of a config.

  Raises:
    UserError: none, or one that has other fields or is too short.
  """
  fields = len(Phase._fields)
  if not entries or any(
    len(entry) != fields or min(entry) <= 0 or entry[2] <= warmup_steps
    for entry in entries
  ):
    raise UserError(
      f"phases: expected ({', '.join(Phase._fields)}) each, with more than "
      f"{warmup_steps} steps (schedule.warmup_steps), got {entries!r}"
    )
  return [Phase(*entry) for entry in entries]


def make_schedule(
  phases: Sequence[Phase], *, warmup_steps: int, final_factor: float
) -> optax.Schedule:
  """In each phase a linear warm-up from 0, then a cosine down to
  `final_factor` times the phase's learning rate."""
  return optax.join_schedules(
    [
      optax.warmup_cosine_decay_schedule(
        0.0, peak, warmup_steps, steps, final_factor * peak
      )
      for _, _, steps, peak in phases
    ],
    list(itertools.accumulate(phase.steps for phase in phases[:-1])),
  )


def make_step(
  objective: Callable[..., tuple[jax.Array, Scalars]],
  tx: optax.GradientTransformation,
  *,
  seed: int,
  policy: precision.Policy,
) -> Callable[..., Any]:
  """(state, batch) -> (state, metrics), for `data_parallel.shard_step`.

  Args:
    objective: of a `Task`.
    tx: the optimizer.
    seed: of dropout and drop path.
    policy: of float32 products, the model's.
  """
  axis = data_parallel.AXIS
  total = data_parallel.total_over(axis)

  def step(state, batch):
    rngs = {
      name: jax.random.fold_in(key, jax.lax.axis_index(axis))
      for name, key in state_lib.step_rngs(seed, state.step).items()
    }
    (loss, measured), grads = jax.value_and_grad(objective, has_aux=True)(
      state.params, batch, rngs, total
    )
    loss, measured, grads = total((loss, measured, grads))
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    state = state.replace(
      step=state.step + 1,
      params=optax.apply_updates(state.params, updates),
      opt_state=opt_state,
    )
    return state, measured | {
      "total": loss,
      "grad_norm": optax.global_norm(grads),
    }

  return precision.follow(policy, step)


def run(
  task: Task,
  variant: variants.Variant,
  config: ConfigDict,
  folder: pathlib.Path,
  stop: interrupt.Stop,
) -> None:
  """Trains a part and exports it; goes on from the last checkpoint.

  Args:
    task: what is trained.
    variant: the model's sizes.
    config: see `configs/refshapes_video.py`.
    folder: of the run, exists; see `pretrain.pretrain`.
    stop: see `pretrain.pretrain`.

  Raises:
    UserError: the phases are impossible or the workdir is another run's.
    FloatingPointError: a loss, or what is trained, became infinite or NaN.
    interrupt.Interrupted: `stop` was requested; the text says what is saved.
  """
  phases = read_phases(config.phases, config.schedule.warmup_steps)
  schedule = make_schedule(phases, **config.schedule)
  ends = list(itertools.accumulate(phase.steps for phase in phases))
  position = json.loads(
    json.dumps(
      dict(config.data, seed=config.seed, phases=phases), allow_nan=False
    )
  )

  # State: a checkpoint of this run if there is one, else a fresh start.
  tx = optimizer.make_optimizer(
    task.params,
    schedule,
    groups=((".*", 1.0),),
    heads=("heads",),
    **config.optimizer,
  )
  state = state_lib.create(task.params, tx, use_ema=False)
  checkpointer = checkpoint.Checkpointer(folder, keep=config.keep_checkpoints)
  if checkpointer.latest_step is not None:
    saved = checkpointer.read_position()
    for name, value in position.items():
      if saved.get(name) != value:
        raise UserError(
          f"the run was started with {name} = {saved.get(name)!r}, not "
          f"{value!r}: use another workdir"
        )
    state = checkpointer.restore(state)
    _logger.info("going on from step %d", int(state.step))

  # Phases differ in shape, so each compiles the step when it begins.
  mesh = data_parallel.make_mesh(math.gcd(*(p.batch_size for p in phases)))
  step_fn = make_step(
    task.objective, tx, seed=config.seed, policy=config.precision
  )
  step_fn = compiled_step.CompiledStep(
    data_parallel.shard_step(step_fn, mesh), len(phases)
  )
  first = int(state.step)
  state = jax.device_put(state, data_parallel.replicated(mesh))
  batches = _batches(task, phases, first + 1)
  # Everything is accepted; before, the folder's files stay as they are.
  config_json = config.to_json_best_effort(indent=2)
  workdir_lib.write_text(folder / "config.json", config_json + "\n")
  writer = metrics_lib.MetricWriter(folder, resume_step=first)
  pending, clock = [], time.time()

  def record(step):
    """Writes the means of the steps since it was last called, up to `step`."""
    nonlocal pending, clock
    fetched, pending = jax.device_get(pending), []
    means = {k: np.mean([m[k] for m in fetched]) for k in fetched[0]}
    metrics_lib.raise_on_nan(step - len(fetched) + 1, fetched)
    rate = len(fetched) / (time.time() - clock - step_fn.seconds)
    means |= {"learning_rate": schedule(step - 1), "steps_per_second": rate}
    writer.write_scalars(step, means)
    _logger.info(
      "step %d/%d: loss %.3f, %.2f steps/s; %s",
      step,
      ends[-1],
      means["total"],
      rate,
      task.progress(means),
    )
    clock, step_fn.seconds = time.time(), 0.0

  def save(step):
    # A broken state must not be saved.
    if pending:
      record(step)
    checkpointer.save(state, position)

  def save_to_stop(step):
    if step > first:
      save(step)
    return checkpointer.describe_last()

  try:
    for step in range(first + 1, ends[-1] + 1):
      with stop.at_rest(functools.partial(save_to_stop, step - 1)):
        batch = jax.device_put(next(batches), data_parallel.split(mesh))
        step_fn.prepare(state, batch)
      state, metrics = step_fn(state, batch)
      pending.append(metrics)
      # Also at the end of a phase: another has other metrics.
      if step in ends or step % config.checkpoint_every == 0:
        save(step)
      elif step % config.log_every == 0:
        record(step)
  finally:
    batches.close()
    checkpointer.close()
    writer.close()
  _export(folder, task, state.params[task.part], variant, config)


def _batches(task: Task, phases: Sequence[Phase], first: int) -> Iterator[Any]:
  """Those of steps `first` to the last."""
  end = 0
  for phase in phases:
    end += phase.steps
    if first > end:
      continue
    with contextlib.closing(task.batches(phase, first)) as made:
      yield from itertools.islice(made, end - first + 1)
    first = end + 1


def _export(folder, task, params, variant, config) -> None:
  metrics = metrics_lib.read_metrics(folder / "metrics.jsonl")
  last = metrics[-1] if metrics else {}
  names = ("total", *(k for k in last if k.startswith("accuracy_")))
  card = card_lib.make(
    variant,
    name=config.export.name,
    source={
      "command": " ".join(["sgmg", *sys.argv[1:]]),
      "seed": config.seed,
      "config": json.loads(config.to_json_best_effort()),
    },
    licence=config.export.licence,
    part=task.part,
    results=last,
    curve=publish.thin(metrics, names),
  )
  arrays = jax.tree.map(np.asarray, params)
  native.save(folder / "model", arrays, card, task.tokenizer, overwrite=True)
