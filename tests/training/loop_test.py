"""The whole loop: the smoke config with the tiny model."""

import json
import pathlib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tensorboard.backend.event_processing import event_file_loader

from sgmg_jax import tokenizer
from sgmg_jax.checkpoints import native, random_weights
from sgmg_jax.cli import train
from sgmg_jax.errors import UserError
from sgmg_jax.model import sgmg, variants
from sgmg_jax.training import initial, interrupt, loop, metric_writer

pytestmark = pytest.mark.slow

CONFIG = pathlib.Path(__file__).parents[2] / "configs/refshapes.py"


class Tracked:
  """A ConfigDict that remembers which of its keys were read."""

  def __init__(self, config, seen, prefix=""):
    self._config, self._seen, self._prefix = config, seen, prefix

  def keys(self):
    return self._config.keys()

  def __getitem__(self, name):
    value = self._config[name]
    path = f"{self._prefix}{name}"
    if isinstance(value, ConfigDict):
      return Tracked(value, self._seen, f"{path}.")
    self._seen.add(path)
    return value

  def __getattr__(self, name):
    if name in self._config:
      return self[name]
    if name == "to_dict":
      self._seen.update(_paths(self._config, self._prefix))
    return getattr(self._config, name)


def _paths(config, prefix=""):
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _paths(value, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}"


def _config(**changes):
  config = train.load_config(f"{CONFIG}:runlocal")
  # Few blocks: nearly all the time here goes into compiling.
  config.model = ConfigDict(
    dict(
      name="mu",
      depths=(1, 1, 1, 1),
      encoder_layers=1,
      decoder_layers=2,
      text_layers=1,
      vocab_size=768,
    )
  )
  config.schedule.drop_steps = (3,)
  config.update(changes)
  return config


@pytest.fixture(scope="module", autouse=True)
def _draw():
  """Random parameters that need no compilation: tests/model has the others."""
  with pytest.MonkeyPatch.context() as patch:
    draw = lambda model, seed: random_weights.make(model.variant)
    patch.setattr(initial, "_draw", draw)
    yield


@pytest.fixture(scope="module")
def straight(shared_steps, tmp_path_factory):
  folder = tmp_path_factory.mktemp("straight")
  seen = set()
  config = _config()
  config.unlock()
  config.never_read = 1
  results = loop.train(Tracked(config, seen), folder)
  return folder, results, set(_paths(config)) - seen


@pytest.fixture(scope="module")
def resumed(straight, stop_after, tmp_path_factory):
  """A run told to stop in its third step, and the same command again."""
  folder = tmp_path_factory.mktemp("resumed") / "run"
  with pytest.raises(interrupt.Interrupted) as stopped:
    loop.train(_config(), folder, stop_after(3))
  assert str(stopped.value) == (
    f"SIGTERM: step 3 is saved in {folder / 'checkpoints'}; the same command "
    "goes on from there"
  )
  assert stopped.value.exit_code == 143
  names = sorted(path.name for path in (folder / "checkpoints").iterdir())
  assert names == ["2", "3"] and not (folder / "model").exists()
  loop.train(_config(), folder)
  return folder


def test_no_key_is_unread(straight):
  assert straight[2] == {"never_read"}


def test_leaves_a_checkpoint_that_says_how_it_was_made(straight):
  folder, results, _ = straight
  checkpoint = native.load(folder / "model")
  assert checkpoint.variant.embed_dim == 24
  card = checkpoint.card
  assert card["source"]["seed"] == 0
  assert card["source"]["config"]["total_steps"] == 4
  assert [p["step"] for p in card["curve"]["train"]] == [2, 4]
  assert card["results"]["val/refshapes/J&F"] == results["refshapes/J&F"]
  dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(checkpoint.params)}
  assert dtypes == {"float16"}
  saved = json.loads((folder / "config.json").read_text())
  assert saved == card["source"]["config"]
  table = (folder / "parameters.txt").read_text()
  assert "text_encoder/text_backbone/embeddings/word_embeddings" in table


def test_logs_losses_rates_and_scores(straight):
  lines = metric_writer.read_metrics(straight[0] / "metrics.jsonl")
  assert [m["step"] for m in lines] == [2, 4, 4]
  assert {"total", "loss_ce", "loss_dice_low_0", "grad_norm"} <= lines[0].keys()
  assert {"grad_norm/backbone", "grad_norm/text_encoder"} <= lines[0].keys()
  assert lines[0]["speed/steps_per_second"] > 0
  assert 0 <= lines[0]["speed/data_wait"] <= 1
  # Warm-up over 2 steps, a drop after the third.
  assert lines[0]["learning_rate"] == pytest.approx(1e-3)
  assert lines[1]["learning_rate"] == pytest.approx(1e-4)
  assert lines[1]["learning_rate/text_encoder"] == pytest.approx(3e-5)
  names = {f"val/refshapes/{name}" for name in ("J&F", "J", "F", "swapped")}
  assert names <= lines[2].keys()


def test_shows_what_it_segments(straight):
  (events,) = straight[0].glob("events.out.tfevents.*")
  shown = [
    (event.step, value.tag)
    for event in event_file_loader.EventFileLoader(str(events)).Load()
    for value in event.summary.value
    if value.metadata.plugin_data.plugin_name == "images"
  ]
  assert shown == [(4, f"val/refshapes/{k}") for k in range(4)]


def test_stop_and_resume_is_a_straight_run_bit_for_bit(straight, resumed):
  one, two = (native.load(f / "model").params for f in (straight[0], resumed))
  jax.tree.map(np.testing.assert_array_equal, one, two)
  lines = [
    metric_writer.read_metrics(f / "metrics.jsonl")
    for f in (straight[0], resumed)
  ]
  assert [m["step"] for m in lines[0]] == [2, 4, 4]
  # Stopping writes a line of its own.
  assert [m["step"] for m in lines[1]] == [2, 3, 4, 4]
  assert lines[0][-1] == lines[1][-1]
  same = [
    {k: v for k, v in run[0].items() if not k.startswith("speed/")}
    for run in lines
  ]
  assert same[0] == same[1]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(data=dict(batch_size=4)), "saved with batch_size = 2, now 4; use"),
    (dict(total_epochs=1), "these data have no epochs"),
    (dict(ema_decay=0.0), "does not fit this config .*: ema/"),
  ],
)
def test_a_refused_config_changes_nothing(straight, change, message):
  files = lambda: {
    path: path.read_bytes()
    for path in straight[0].glob("*")
    if path.is_file() and path.name != ".lock"
  }
  before = files()
  assert {"config.json", "parameters.txt"} < {path.name for path in before}
  with pytest.raises(UserError, match=message):
    loop.train(_config(**change), straight[0])
  assert files() == before


def test_words_must_have_the_numbers_they_were_trained_with(straight, tmp_path):
  config = _config(init_from=str(straight[0] / "model"))
  config.tokenizer.vocab_clips = 20
  with pytest.raises(UserError, match="expected .*model/tokenizer, .* token '"):
    loop.train(config, tmp_path / "other")
  # None that the embeddings are of are kept.
  params, names = initial.init_params(
    sgmg.SgMg(variants.get_variant(**config.model)),
    seed=0,
    init_from=config.init_from,
    required=(".*",),
    reinitialise=("text_encoder/.*",),
    tokenizer=tokenizer.load_tokenizer(tmp_path / "other/tokenizer"),
  )
  assert not any(name.startswith("text_encoder/") for name in names)
  given = native.load(straight[0] / "model").params
  for name, same in (("text_encoder", False), ("text_proj", True)):
    pair = (jax.tree.leaves(tree[name]) for tree in (params, given))
    kept = [np.array_equal(a, b) for a, b in zip(*pair)]
    assert all(kept) == same, name
