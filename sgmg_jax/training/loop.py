"""The training loop, resumable at any time, in one process or many.

Starting the same command again goes on from the last checkpoint and gives,
bit for bit, what an uninterrupted run gives. All processes run the same steps;
the first one writes what lies beside the checkpoints.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
from clu import parameter_overview
from ml_collections import ConfigDict

from sgmg_jax import distributed, types
from sgmg_jax.checkpoints import stored_dtype
from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.training import (
  auxiliary,
  bucket,
  checkpoint,
  compiled_step,
  evaluations,
  export_model,
  initial,
  interrupt,
  optimizer,
  parameter_summary,
  parts,
  performance,
  profile,
  progress,
  run_tokenizer,
  setup,
  skipped_steps,
)
from sgmg_jax.training import (
  batches as batches_lib,
)
from sgmg_jax.training import metric_writer as metrics_lib
from sgmg_jax.training import schedule as schedule_lib
from sgmg_jax.training import workdir as workdir_lib

_logger = logging.getLogger(__name__)


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
    The last scores, see `evaluations.Evaluations`; empty without evaluations.

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
  mirror = bucket.connect(config.checkpoint_dir, folder)

  # Model, data and tokenizer.
  variant = variants.get_variant(**config.model)
  if config.tokenizer.max_tokens > variant.max_tokens:
    raise UserError(
      f"tokenizer.max_tokens = {config.tokenizer.max_tokens}: the model takes "
      f"at most {variant.max_tokens}"
    )
  # Or the export, after the last step, would be the first to refuse it.
  stored_dtype.check_dtype(config.export.dtype, "export.dtype")
  model = setup.build_model(
    variant,
    dtype=config.dtype,
    remat=config.remat,
    precision=config.precision,
  )
  tasks = auxiliary.load(config.auxiliary)
  data = batches_lib.open_data(config, auxiliary.label_names(tasks))
  tokenizer = run_tokenizer.get_tokenizer(
    folder / "tokenizer",
    variant,
    source=config.tokenizer.source,
    vocab_clips=config.tokenizer.vocab_clips,
  )

  # Parameters, and what is done with them.
  params, given = initial.init_params(
    model,
    seed=config.seed,
    init_from=config.init_from,
    required=config.init_required,
    reinitialise=config.reinitialise,
    tokenizer=tokenizer,
  )
  params |= auxiliary.init_heads(tasks, config.seed, variant.width)
  # Or a device would keep them whole, beside its part of the state.
  params = jax.device_get(params)
  total_steps, schedule = schedule_lib.plan_length(
    config, data.steps_per_epoch, data.batch_size
  )
  assembly = setup.of_config(
    config,
    model,
    tasks,
    params,
    schedule=schedule,
  )
  trainable = optimizer.trainable_mask(params, assembly.groups)
  if not config.freeze_random:
    initial.check_frozen(trainable, given)
  _logger.info(
    "parameters (each in parameters.txt):\n%s",
    parameter_summary.summarise(params, trainable),
  )
  _logger.info(
    "%d devices (%s) in %d processes; batches of %d clips in %d shapes: %s",
    assembly.mesh.size,
    ", ".join(f"{k} {n}" for k, n in assembly.mesh.shape.items()),
    jax.process_count(),
    data.batch_size,
    len(data.shapes),
    ", ".join(f"{height}x{width}" for height, width in data.shapes),
  )

  def export(params, name="model"):
    export_model.export(
      folder / name,
      params,
      variant,
      tokenizer,
      name=config.export.name,
      licence=config.export.licence,
      dtype=config.export.dtype,
      preprocess=config.export.preprocess.to_dict(),
      config=json.loads(config_json),
      metrics=metrics_lib.read_metrics(folder / "metrics.jsonl"),
      max_group=evaluations.max_group(config),
    )

  return run(
    config,
    folder,
    stop,
    mirror=mirror,
    data=data,
    tokenizer=tokenizer,
    assembly=assembly,
    params=params,
    schedule=schedule,
    rate_multipliers=parts.rate_multipliers(params, assembly.groups),
    ends=[total_steps],
    files={
      "config.json": config_json + "\n",
      "parameters.txt": parameter_overview.get_parameter_overview(params)
      + "\n",
    },
    select=functools.partial(auxiliary.without_heads, tasks=tasks),
    export_every=config.eval.every,
    evaluate=evaluations.Evaluations(config, folder, variant, tokenizer),
    best=evaluations.Best(folder, config.best, list(config.evals.keys())),
    export=export,
    scalars=lambda: {"truncated_sentences": data.truncations.take()},
  )


def run(
  config: ConfigDict,
  folder: pathlib.Path,
  stop: interrupt.Stop,
  *,
  mirror: bucket.Mirror | None,
  data: batches_lib.TrainingData,
  tokenizer: Any,
  assembly: setup.Assembly,
  params: types.Params,
  schedule: optax.Schedule,
  ends: Sequence[int],
  files: Mapping[str, str],
  select: Callable[[types.Params], types.Params],
  export: Callable[..., None],
  rate_multipliers: Mapping[str, float] | None = None,
  export_every: int | None = None,
  evaluate: evaluations.Evaluations | None = None,
  best: evaluations.Best | None = None,
  scalars: Callable[[], dict[str, float]] = dict,
  describe: Callable[[dict[str, float]], str] = lambda means: "",
) -> dict[str, float]:
  """Runs the steps that are left, from the last checkpoint if there is one.

  Args:
    config: `log_every`, `checkpoint_every`, `max_skipped` and
      `keep_checkpoints` in steps; `profile`, see there.
    folder: of the run, locked.
    stop: see `train`.
    mirror: what holds the checkpoints instead, and copies for a workdir that
      is lost.
    data: where batches come from.
    tokenizer: of `data`.
    assembly: what trains.
    params: at the start of a fresh run.
    schedule: learning rate by step, for the log.
    rate_multipliers: what it is multiplied by, of parts of the model.
    ends: the last step of each phase; the last of them ends the run. Batches of
      another phase have other shapes or metrics, so that a phase ends with a
      checkpoint.
    files: written to the folder once everything is accepted, by name.
    select: picks what is evaluated and exported of the parameters.
    export: writes the selected parameters, on one device, into the folder of
      a name, or "model".
    export_every: steps between two exports; None: the run only ends with one.
    evaluate: scores the selected parameters before they are exported.
    best: decides which are also exported as "best".
    scalars: gives further numbers for the log since it was last called.
    describe: puts the metrics' means into words for the log.

  Returns:
    The last scores, empty without evaluations.

  Raises:
    UserError: a checkpoint of another config or other data.
    FloatingPointError, interrupt.Interrupted: see `train`.
  """
  with contextlib.ExitStack() as stack:
    tracer = profile.Profile(config.profile, folder)
    stack.callback(tracer.close)
    checkpointer = checkpoint.Checkpointer(
      mirror.folder if mirror else folder, keep=config.keep_checkpoints
    )
    stack.callback(checkpointer.close)
    push = lambda *names: None
    if mirror and distributed.is_leader():
      push = mirror.push
    if checkpointer.latest_step is None:
      if mirror:
        mirror.refuse_other_checkpoints()
      state = assembly.create(params)
    else:
      data.restore(checkpointer.read_position(), checkpointer.latest_step)
      state = checkpointer.restore(assembly.state)
      _logger.info("going on from step %d", int(state.step))
    first, last = int(state.step), ends[-1]
    # Which shapes the step meets is known, when it meets them is not.
    train_step = compiled_step.CompiledStep(assembly.step, len(data.shapes))
    batches = data.start(tokenizer, assembly.batch_sharding)
    stack.callback(batches.close)

    # Everything is accepted; before, the folder's files stay as they are.
    writer, agreement = None, None
    if distributed.is_leader():
      for name, text in files.items():
        workdir_lib.write_text(folder / name, text)
      if mirror and first:
        mirror.pull("metrics.jsonl", evaluations.BEST_FILE)
      push(*files, "tokenizer")
      writer = metrics_lib.MetricWriter(folder, resume_step=first)
      stack.callback(writer.close)
    if jax.process_count() > 1:
      agreement = distributed.Agreement()
      stop.defer()
    guard = skipped_steps.Guard(
      folder, config.max_skipped, assembly.objective, assembly.seed
    )
    results = {}
    pending = []
    clock = performance.Clock()
    advance = stack.enter_context(progress.live_line(first, last))

    def record(step):
      """Writes the means of the steps since it was last called."""
      nonlocal pending
      checkpointer.check()
      guard.look(state.params)
      fetched, pending = jax.device_get(pending), []
      means = metrics_lib.means_of(step - len(fetched) + 1, fetched)
      speed, rate = clock.read(), schedule(step - 1)
      means |= speed | performance.device_memory() | {"learning_rate": rate}
      means |= {
        f"learning_rate/{part}": factor * rate
        for part, factor in (rate_multipliers or {}).items()
      }
      means |= scalars()
      if writer:
        writer.write_scalars(step, means)
      _logger.info(
        "step %d/%d: loss %.3f, %.2f steps/s (%.0f %% of the time waiting for "
        "data), %s left%s",
        step,
        last,
        means.get("total", math.nan),
        speed["speed/steps_per_second"],
        100 * speed["speed/data_wait"],
        performance.remaining(last - step, speed),
        describe(means) if "total" in means else "; all steps were skipped",
      )

    def save(step, position):
      # A broken state must not be saved.
      if pending:
        record(step)
      with clock.saving():
        checkpointer.save(state, position)
        push("metrics.jsonl")

    def save_to_stop(step, position):
      with workdir_lib.naming_refusal(folder):
        if step > first:
          save(step, position)
        return checkpointer.describe_last()

    def evaluate_and_export(step):
      params = distributed.local(select(state.best_params))
      scores = evaluate(params, step) if evaluate else {}
      if writer:
        if evaluate:
          writer.write_scalars(step, {f"val/{k}": v for k, v in scores.items()})
          writer.write_images(step, evaluate.pictures)
        export(params)
        if step == last:
          push("model")
        if best and best.is_beaten(scores):
          export(params, "best")
          best.note(step, scores)
          push("best", evaluations.BEST_FILE)
        push("metrics.jsonl")
      distributed.wait_for_others("export")
      return scores

    def is_due(step):
      return step == last or (export_every and step % export_every == 0)

    def evaluate_at_rest(step, position):
      if agreement and step > first:
        # A signal is answered after it, which may be too late to save.
        save(step, position)
      saving = functools.partial(save_to_stop, step, position)
      with stop.at_rest(saving), clock.paused():
        return evaluate_and_export(step)

    # A run that was stopped while it evaluated goes on with that.
    if evaluate and 0 < first < last and is_due(first):
      entries = metrics_lib.read_metrics(folder / "metrics.jsonl")
      names = {k for m in entries if m["step"] == first for k in m}
      is_evaluated = any(name.startswith("val/") for name in names)
      if not distributed.from_leader(is_evaluated):
        evaluate_at_rest(first, data.position)
    for step in range(first + 1, last + 1):
      resting = functools.partial(save_to_stop, step - 1, data.position)
      if agreement and agreement.ask(stop.is_requested):
        raise stop.interrupted(resting())
      with stop.at_rest(resting):
        with clock.waiting(pending[-1:]):
          batch = next(batches)
        with clock.paused():
          train_step.prepare(state, batch)
      with tracer.step(step):
        state, metrics = train_step(state, batch)
      if tracer.is_last(step):
        jax.block_until_ready(metrics)
        with clock.paused():
          tracer.close()
      pending.append(metrics)
      guard.add(step, batch, metrics, state.params)
      clock.count(batch)
      advance()
      if step in ends or step % config.checkpoint_every == 0:
        save(step, data.position)
      elif step % config.log_every == 0:
        record(step)
      if is_due(step):
        results = evaluate_at_rest(step, data.position)
    if first >= last:
      _logger.info("nothing left to do: %d steps are done", first)
      results = evaluate_and_export(first)
  return results
