"""The settings of a pipeline, as plain values that travel as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import loader as loader_lib
from sgmg_jax.input_pipeline.batches import planner, recipes
from sgmg_jax.input_pipeline.built import reader as built
from sgmg_jax.input_pipeline.sets import registry

# What positions without the setting `reverse` were saved with.
_OLD_REVERSE = {"refer_ytvos": 0.3, "mevis": 0.3, "own": 0.3}


def _empty():
  return dataclasses.field(default_factory=dict)


def _freeze(value):
  if isinstance(value, list | tuple):
    return tuple(_freeze(part) for part in value)
  if isinstance(value, Mapping):
    return {name: _freeze(part) for name, part in value.items()}
  return value


@dataclasses.dataclass(frozen=True)
class Config:
  """The settings of a pipeline.

  Attributes:
    root: folder that holds the data sets, raw or built.
    sets: (name, folder below `root` of the raw data, how often it is listed)
      of each data set, see `sets.registry`; they are concatenated.
    batch_size: clips in a global batch.
    num_frames: T.
    expressions_per_clip: E, most sentences of a training clip: with several, a
      sample is a clip of a video rather than one sentence about it.
    buckets: (height, width) that batches are padded to, multiples of 32;
      each is one compiled program.
    options: of the readers, by data set.
    reverse: probability that a training clip runs backwards, by data set; 0
      where not named.
    pseudo_video: whether images become clips, in training.
    quirks: official errors to reproduce, see `recipes.Quirks`.
    sizes: of the resizing op, see `recipes.get`.
    no_target: whether training takes sentences that refer to no object
      (MeViS, version 2), with empty masks; otherwise other samples are drawn
      in their place.
    endless: whether training draws clips by number, without end and each
      once; for sets that can, see `registry.open_stream`.
    num_threads: that load rows, through tf.data; the batches do not depend on
      it.
    num_workers: processes that load batches instead, for sets whose examples
      take much time in Python. Without any, endless ones are drawn in this
      process.
    prefetch: batches made ahead.
    on_error: what a record that cannot be read does: "error" ends the run,
      "skip" takes another one, in evaluation masks the row.
    max_errors: different ones that "skip" allows each process.
    service: addresses "host:port" of tf.data services that load instead of
      this machine, batches in turn; see `service`. Empty: none.
  """

  root: str
  sets: tuple[tuple[str, str, int], ...]
  batch_size: int
  num_frames: int
  buckets: tuple[tuple[int, int], ...]
  expressions_per_clip: int = 1
  options: Mapping[str, Mapping[str, Any]] = _empty()
  reverse: Mapping[str, float] = _empty()
  pseudo_video: bool = False
  quirks: Mapping[str, bool] = _empty()
  sizes: Mapping[str, Any] = _empty()
  no_target: bool = True
  endless: bool = False
  num_threads: int = 1
  num_workers: int = 0
  prefetch: int = 2
  on_error: str = "error"
  max_errors: int = 100
  service: tuple[str, ...] = ()

  def __post_init__(self):
    # Configs and JSON hold lists.
    for field in dataclasses.fields(self):
      object.__setattr__(self, field.name, _freeze(getattr(self, field.name)))
    if self.on_error not in ("error", "skip"):
      raise UserError(
        f"data.on_error: expected error or skip, got {self.on_error!r}"
      )
    for name, probability in self.reverse.items():
      if name not in recipes.VIDEOS:
        raise UserError(
          f"data.reverse: {name} has no clips to reverse, expected some of "
          f"{', '.join(recipes.VIDEOS)}"
        )
      if not 0 <= probability <= 1:
        raise UserError(
          f"data.reverse.{name} = {probability}: expected a probability"
        )
    if self.num_workers < 0:
      raise UserError("data.num_workers: expected 0 or more")
    for name in (
      "batch_size",
      "num_frames",
      "expressions_per_clip",
      "num_threads",
      "prefetch",
    ):
      if getattr(self, name) < 1:
        raise UserError(f"data.{name}: expected at least 1")


@dataclasses.dataclass(frozen=True)
class Share:
  """A process's part of a split: everything but the config."""

  split: str
  train: bool
  process_index: int
  process_count: int
  seed: int

  def rows(self, batch: planner.Batch) -> tuple[planner.Row, ...]:
    """Select the rows of a global batch that this process loads, contiguous."""
    count = len(batch.rows) // self.process_count
    start = self.process_index * count
    return batch.rows[start : start + count]


def to_json(config: Config, share: Share, **more: Any) -> str:
  """Encode what another process needs to load the same, and further fields."""
  job = {
    "config": dataclasses.asdict(config),
    "share": dataclasses.asdict(share),
  }
  return json.dumps(job | more, allow_nan=False)


def from_json(job: str | bytes) -> tuple[Config, Share]:
  """Decode what `to_json` gives, less the further fields."""
  job = json.loads(job)
  return Config(**job["config"]), Share(**job["share"])


def open_loader(config: Config, share: Share) -> loader_lib.Loader:
  """Open the sources of a pipeline, each with its recipe.

  Raises:
    UserError: a data set is missing or malformed.
  """
  skip_errors = config.on_error == "skip"
  data_sets = []
  for name, folder, repeat in config.sets:
    options = config.options.get(name, {})
    if config.endless and share.train:
      data_sets.append(
        registry.open_stream(
          name,
          share.split,
          batch_size=config.batch_size,
          num_frames=config.num_frames,
          expressions_per_clip=config.expressions_per_clip,
          **options,
        )
      )
      continue
    recipe = recipes.get(
      name,
      "train" if share.train else "eval",
      num_frames=config.num_frames,
      quirks=recipes.Quirks(**config.quirks),
      reverse=config.reverse.get(name, 0.0) if share.train else 0.0,
      pseudo_video=(
        config.pseudo_video and share.train and name in recipes.IMAGES
      ),
      sizes=config.sizes,
    )
    if built.is_built(config.root, name):
      path = config.root
    else:
      path = os.path.join(config.root, folder)
    source = registry.open_source(name, path, share.split, **options)
    data_sets.append(
      loader_lib.DataSet(
        source,
        recipe,
        repeat=repeat,
        skip_errors=skip_errors,
        no_target=config.no_target,
        expressions_per_clip=config.expressions_per_clip if share.train else 1,
      )
    )
  return loader_lib.Loader(
    data_sets,
    planner.Mixture([d.part() for d in data_sets]),
    seed=share.seed,
    skip_errors=skip_errors,
  )


def make_plan(
  config: Config, share: Share, loader: loader_lib.Loader
) -> planner.TrainPlan | planner.StreamPlan | planner.EvalPlan:
  """Plan the order of the loader's samples."""
  make = planner.EvalPlan
  if share.train:
    make = planner.StreamPlan if config.endless else planner.TrainPlan
  names = ["num_frames", "pseudo_video", "quirks", "sizes", "options"]
  # Positions saved before there were these settings lack them.
  if not config.no_target:
    names.append("no_target")
  if config.expressions_per_clip > 1:
    names.append("expressions_per_clip")
  settings = {name: getattr(config, name) for name in names}
  reverse = {name: config.reverse.get(name, 0.0) for name, _, _ in config.sets}
  if reverse != {name: _OLD_REVERSE.get(name, 0.0) for name in reverse}:
    settings["reverse"] = reverse
  return make(
    loader.mixture,
    buckets=config.buckets,
    batch_size=config.batch_size,
    seed=share.seed,
    skip_errors=config.on_error == "skip",
    settings=settings,
  )
