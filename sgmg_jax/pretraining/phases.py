"""Pre-training of parts of a model that is trained from scratch, in phases.

What remains of a run is a checkpoint of the part, for `init_from`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.pretraining import tasks
from sgmg_jax.training import bucket, export_model, interrupt, loop, setup
from sgmg_jax.training import metric_writer as metrics_lib
from sgmg_jax.training import sharding as sharding_lib
from sgmg_jax.training import workdir as workdir_lib


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
  """Makes the learning rate: in each phase a linear warm-up from 0, then a
  cosine down to `final_factor` times the phase's."""
  return optax.join_schedules(
    [
      optax.warmup_cosine_decay_schedule(
        0.0, peak, warmup_steps, steps, final_factor * peak
      )
      for _, _, steps, peak in phases
    ],
    list(itertools.accumulate(phase.steps for phase in phases[:-1])),
  )


class PhasedData:
  """The batches of all phases in turn; see `training.batches.TrainingData`.

  Args:
    task: makes the batches.
    phases: in their order.
    position: JSON, all that batches depend on beside the step.
  """

  def __init__(
    self,
    task: tasks.Task,
    phases: Sequence[Phase],
    position: dict[str, Any],
  ):
    self._task = task
    self._step = 0
    # Phases differ in shape, so each compiles the step when it begins.
    self.shapes = tuple(phases)
    self.batch_size = math.gcd(*(phase.batch_size for phase in phases))
    self.position = json.loads(json.dumps(position, allow_nan=False))

  def restore(self, position: dict[str, Any], step: int) -> None:
    for name, value in self.position.items():
      if position.get(name) != value:
        raise UserError(
          f"the run was started with {name} = {position.get(name)!r}, not "
          f"{value!r}: use another workdir"
        )
    self._step = step

  def start(
    self, tokenizer: Any, sharding: jax.sharding.Sharding
  ) -> Iterator[Any]:
    del tokenizer  # The task's own.
    first, end = self._step + 1, 0
    for phase in self.shapes:
      end += phase.steps
      if first > end:
        continue
      made = self._task.batches(phase.num_frames, phase.batch_size, first)
      with contextlib.closing(made):
        for batch in itertools.islice(made, end - first + 1):
          yield jax.tree.map(
            functools.partial(sharding_lib.place, sharding=sharding), batch
          )
      first = end + 1


def pretrain(
  config: ConfigDict,
  workdir: str | os.PathLike,
  stop: interrupt.Stop | None = None,
) -> None:
  """Trains what `config.pretrain` names and exports it; goes on from the last
  checkpoint.

  Args:
    config: see `configs/refshapes_video.py` and `configs/refshapes_text.py`.
    workdir: folder of the run: `checkpoints/`, `metrics.jsonl`, TensorBoard
      events, `config.json`, and the exported `model/`.
    stop: how the run is told to save and stop, see `interrupt.watch`.

  Raises:
    UserError: the config does not fit the model or the workdir, the phases are
      impossible, or another run uses the workdir.
    FloatingPointError: a loss, or what is trained, became infinite or NaN.
    interrupt.Interrupted: `stop` was requested; the text says what is saved.
  """
  if config.pretrain not in ("video", "text"):
    raise UserError(
      f"pretrain: expected one of text, video, got {config.pretrain!r}"
    )
  variant = variants.get_variant(**config.model)
  with workdir_lib.use(workdir) as folder:
    mirror = bucket.connect(config.checkpoint_dir, folder)
    if config.pretrain == "text":
      task = tasks.make_text_task(config, variant, folder)
    else:
      task = tasks.make_video_task(config, variant)
    _run(task, variant, config, folder, stop or interrupt.Stop(), mirror)


def _run(
  task: tasks.Task,
  variant: variants.Variant,
  config: ConfigDict,
  folder: pathlib.Path,
  stop: interrupt.Stop,
  mirror: bucket.Mirror | None,
) -> None:
  phases = read_phases(config.phases, config.schedule.warmup_steps)
  schedule = make_schedule(phases, **config.schedule)
  data = PhasedData(
    task, phases, dict(config.data, seed=config.seed, phases=phases)
  )
  assembly = setup.assemble(
    task.objective,
    task.params,
    mesh=sharding_lib.make_mesh(data.batch_size, **config.mesh),
    rules=config.sharding,
    schedule=schedule,
    groups=((".*", 1.0),),
    heads=("heads",),
    seed=config.seed,
    policy=config.precision,
    **config.optimizer,
  )
  loop.run(
    config,
    folder,
    stop,
    mirror=mirror,
    data=data,
    tokenizer=task.tokenizer,
    assembly=assembly,
    params=task.params,
    schedule=schedule,
    ends=list(itertools.accumulate(phase.steps for phase in phases)),
    files={"config.json": config.to_json_best_effort(indent=2) + "\n"},
    select=lambda params: params[task.part],
    export=lambda params: _export(folder, task, params, variant, config),
    describe=lambda means: f"; {task.describe(means)}",
  )


def _export(folder, task, params, variant, config) -> None:
  metrics = metrics_lib.read_metrics(folder / "metrics.jsonl")
  last = metrics[-1] if metrics else {}
  names = ("total", *(k for k in last if k.startswith("accuracy_")))
  card = card_lib.make(
    variant,
    name=config.export.name,
    source=export_model.source(json.loads(config.to_json_best_effort())),
    licence=config.export.licence,
    part=task.part,
    results=last,
    curve=export_model.thin(metrics, names),
  )
  arrays = jax.tree.map(np.asarray, params)
  native.save(folder / "model", arrays, card, task.tokenizer, overwrite=True)
