"""Pre-training on RefShapes of what encodes a video, resumable.

The paper starts from Video Swin trained on Kinetics (SgMg, ICCV 2023, section
4.2). A model trained from scratch has nothing of the kind, and sentences and
masks teach its backbone to tell shapes and textures slowly. So its cells name
what they show first (see `pretrain_step`); what remains is a checkpoint of
part "video", for `init_from`: backbone, projections and pre-augmentation.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from sgmg_jax import types
from sgmg_jax.checkpoints import abstract, native
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import refshapes_cell_batches as cell_batches
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import (
  checkpoint,
  data_parallel,
  export,
  optimizer,
  pretrain_step,
)
from sgmg_jax.training import metrics as metrics_lib
from sgmg_jax.training import state as state_lib

_logger = logging.getLogger(__name__)


class Phase(NamedTuple):
  """A part of the run; in each the learning rate rises and falls once.

  Attributes:
    num_frames: of a clip; a single frame teaches no motion.
    batch_size: clips.
    steps: how long.
    learning_rate: the highest.
  """

  num_frames: int
  batch_size: int
  steps: int
  learning_rate: float


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


def init_params(model: sgmg.SgMg, seed: int, init_from: str) -> types.Params:
  """Random parameters, replaced where a checkpoint holds them.

  Args:
    model: the network.
    seed: of the random ones.
    init_from: a native checkpoint, whole or part; empty: none.

  Returns:
    `video`, those top-level modules of the model that `encode_video` needs,
    and `heads`, those of `CellHeads`.

  Raises:
    UserError: the checkpoint is of another size, or holds nothing of `video`.
  """

  @jax.jit
  def init(key):
    keys = jax.random.split(key)
    side = sgmg.MIN_PADDED_SIDE
    video, variables = model.init_with_output(
      keys[0],
      jnp.zeros((1, 1, side, side, 3)),
      jnp.ones((1, side, side), bool),
      jnp.full((1, 2), side),
      method="encode_video",
    )
    maps = video.levels[: len(pretrain_step.STRIDES)]
    heads = pretrain_step.CellHeads().init(keys[1], maps)
    return {"video": variables["params"], "heads": heads["params"]}

  params = init(jax.random.key(seed))
  if not init_from:
    return params
  fresh = params["video"]
  # The rest of the model only by its shapes, to check a whole checkpoint.
  loaded = native.start_from(
    {**abstract.model(model.variant), **fresh}, init_from
  )
  if all(loaded[name] is fresh[name] for name in fresh):
    raise UserError(
      f"init_from: {init_from} holds nothing of what is pre-trained "
      f"({', '.join(sorted(fresh))})"
    )
  video = jax.tree.map(
    lambda old, new: jnp.asarray(new, old.dtype),
    fresh,
    {name: loaded[name] for name in fresh},
  )
  return {**params, "video": video}


def pretrain(config: ConfigDict, workdir: str | os.PathLike) -> None:
  """Trains what encodes a video and exports it; goes on from the last
  checkpoint.

  Args:
    config: see `configs/refshapes_backbone.py`.
    workdir: folder of the run: `checkpoints/`, `metrics.jsonl`, TensorBoard
      events, `config.json`, and the exported `model/`.

  Raises:
    UserError: the config does not fit the model or the workdir.
    FloatingPointError: a loss became infinite or NaN.
  """
  folder = pathlib.Path(workdir).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  phases = read_phases(config.phases, config.schedule.warmup_steps)
  if min(config.data.height, config.data.width) < sgmg.MIN_PADDED_SIDE:
    raise UserError(
      f"data: clips of {config.data.height}x{config.data.width}, expected a "
      f"height and a width of at least {sgmg.MIN_PADDED_SIDE} and multiples of "
      f"{max(pretrain_step.STRIDES)}"
    )
  schedule = make_schedule(phases, **config.schedule)
  ends = list(itertools.accumulate(phase.steps for phase in phases))
  position = json.loads(
    json.dumps(dict(config.data, seed=config.seed, phases=phases))
  )

  # State: a checkpoint of this run if there is one, else a fresh start.
  variant = variants.get_variant(**config.model)
  model = sgmg.SgMg(variant)
  params = init_params(model, config.seed, config.init_from)
  tx = optimizer.make_optimizer(
    params, schedule, groups=((".*", 1.0),), **config.optimizer
  )
  state = state_lib.create(params, tx, use_ema=False)
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
  config_json = config.to_json_best_effort(indent=2)
  (folder / "config.json").write_text(config_json + "\n")
  writer = metrics_lib.MetricWriter(folder, resume_step=int(state.step))

  # Phases differ in shape, so each compiles the step when it begins.
  mesh = data_parallel.make_mesh(math.gcd(*(p.batch_size for p in phases)))
  step_fn = pretrain_step.make_step(model, tx, seed=config.seed)
  step_fn = data_parallel.shard_step(step_fn, mesh)
  step_fn = jax.jit(step_fn, donate_argnums=0)
  first = int(state.step) + 1
  state = jax.device_put(state, data_parallel.replicated(mesh))
  batches = _batches(config, phases, first)
  pending, clock = [], time.time()
  try:
    for step, batch in enumerate(batches, first):
      batch = jax.device_put(batch, data_parallel.split(mesh))
      state, metrics = step_fn(state, batch)
      pending.append(metrics)
      save = step in ends or step % config.checkpoint_every == 0
      # Also before a checkpoint: a broken state must not be saved. And at the
      # end of a phase: another has other metrics.
      if save or step % config.log_every == 0:
        fetched = jax.device_get(pending)
        means = {k: np.mean([m[k] for m in fetched]) for k in fetched[0]}
        metrics_lib.raise_on_nan(step - len(pending) + 1, step, means)
        # Less in a phase's first steps, which wait for the compiler.
        rate = len(pending) / (time.time() - clock)
        means |= {"learning_rate": schedule(step - 1), "steps_per_second": rate}
        writer.write_scalars(step, means)
        _logger.info(
          "step %d/%d: loss %.3f, %.2f steps/s; right at stride 16: %s",
          step,
          ends[-1],
          means["total"],
          rate,
          ", ".join(
            f"{name.split('_')[1]} {100 * value:.0f} %"
            for name, value in means.items()
            if name.startswith("accuracy_") and name.endswith("_16")
          ),
        )
        pending, clock = [], time.time()
      if save:
        checkpointer.save(state, position)
  finally:
    batches.close()
    checkpointer.close()
    writer.close()
  _export(folder, state.params["video"], variant, config)


def _batches(
  config: ConfigDict, phases: Sequence[Phase], first: int
) -> Iterator[cell_batches.CellBatch]:
  """Those of steps `first` to the last."""
  end = 0
  for phase in phases:
    end += phase.steps
    if first > end:
      continue
    spec = cell_batches.CellBatchSpec(
      **config.data,
      seed=config.seed,
      batch_size=phase.batch_size,
      num_frames=phase.num_frames,
      strides=pretrain_step.STRIDES,
    )
    made = cell_batches.batches(spec, start=first, **config.loader)
    with contextlib.closing(made):
      yield from itertools.islice(made, end - first + 1)
    first = end + 1


def _export(folder, params, variant, config) -> None:
  metrics = metrics_lib.read_metrics(folder / "metrics.jsonl")
  names = ("total", *(k for k in metrics[-1] if k.startswith("accuracy_")))
  card = card_lib.make(
    variant,
    name=config.export.name,
    source={
      "command": " ".join(["sgmg", *sys.argv[1:]]),
      "seed": config.seed,
      "config": json.loads(config.to_json_best_effort()),
    },
    licence=config.export.licence,
    part="video",
    results=metrics[-1],
    curve=export.thin(metrics, names),
  )
  arrays = jax.tree.map(np.asarray, params)
  native.save(folder / "model", arrays, card, None, overwrite=True)
