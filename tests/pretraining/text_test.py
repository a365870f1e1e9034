"""Pre-training of a text encoder: accuracies, what it leaves, resume."""

import pathlib
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import card, expected_shapes, native
from sgmg_jax.cli import main, train
from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.refshapes import predicates
from sgmg_jax.input_pipeline.refshapes.labels import meaning_labels
from sgmg_jax.losses import means
from sgmg_jax.model import sgmg, variants
from sgmg_jax.pretraining import phases, sentence_heads, tasks
from sgmg_jax.training import (
  checkpoint,
  checkpoint_digests,
  initial,
  interrupt,
  loop,
  metric_writer,
)

CONFIG = pathlib.Path(__file__).parents[2] / "configs/refshapes_text.py"
# A byte-level vocabulary has at least 260 entries.
SMALL = dict(name="mu", depths=(1, 1, 1, 1), vocab_size=512)
Predicate = predicates.Predicate
measure = jax.jit(lambda *args: means.values(sentence_heads.measure(*args)))


def _labels():
  star = (Predicate("colour", "red"), Predicate("shape", "star"))
  return np.stack(
    [
      meaning_labels.label(star),
      # "the object next to the red star": its own shape is not named.
      meaning_labels.label((Predicate("near", "", star),)),
    ]
  )


def _scores(labels):
  return np.where(labels, 50.0, -50.0).astype(np.float32)


def test_labels_themselves_are_right():
  labels = _labels()
  measured = measure(_scores(labels), _scores(labels), labels)
  assert {k: float(v) for k, v in measured.items()} == pytest.approx(
    {
      "loss_words": 0.0,
      "loss_pooled": 0.0,
      "accuracy_words": 1.0,
      "accuracy_pooled": 1.0,
      "accuracy_shape": 1.0,
      "accuracy_colour": 1.0,
      # No sentence names either.
      "accuracy_texture": 0.0,
      "accuracy_size": 0.0,
    }
  )


def test_one_wrong_label_makes_a_sentence_wrong():
  labels = _labels()
  words = _scores(labels)
  words[0, meaning_labels.LABELS.index("shape=heart")] = 1.0
  # Where the object's own colour is not named it does not count.
  words[1, meaning_labels.LABELS.index("colour=blue")] = 1.0
  measured = measure(words, _scores(labels), labels)
  assert float(measured["accuracy_words"]) == 0.0
  assert float(measured["accuracy_pooled"]) == 1.0
  assert float(measured["accuracy_shape"]) == 0.0
  assert float(measured["accuracy_colour"]) == 1.0
  # Two wrong labels of two sentences: ln(1 + e) each.
  assert float(measured["loss_words"]) == pytest.approx(np.log(1 + np.e))


def test_shares_of_devices_sum_to_the_whole():
  labels = _labels()
  scores = np.sin(np.arange(labels.size)).reshape(labels.shape)
  whole = measure(scores, -scores, labels)
  share = jax.vmap(sentence_heads.measure)
  shares = share(scores[:, None], -scores[:, None], labels[:, None])
  added = means.values(jax.tree.map(lambda x: x.sum(0), shares))
  for name, value in whole.items():
    np.testing.assert_allclose(added[name], value, rtol=1e-4)


def test_padding_counts_for_nothing():
  heads = sentence_heads.MeaningHeads()
  hidden = np.ones((1, 5, 4), np.float32)
  valid = np.array([[True, True, True, False, False]])
  pooled = np.ones((1, 4), np.float32)
  (words, _), variables = heads.init_with_output(
    jax.random.key(0), hidden, pooled, valid
  )
  hidden[:, 3:] = 100.0
  again, _ = heads.apply(variables, hidden, pooled, valid)
  np.testing.assert_array_equal(words, again)


def _config(**changes):
  config = train.load_config(f"{CONFIG}:runlocal")
  config.model = ConfigDict(SMALL)
  config.phases = ((1, 12, 2, 1e-3), (3, 12, 3, 1e-3))
  config.loader.num_workers = 0
  config.tokenizer.max_tokens = 36
  config.update(changes)
  return config


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  folder = tmp_path_factory.mktemp("straight")
  phases.pretrain(_config(), folder)
  return folder


def test_logs_accuracies(straight):
  lines = metric_writer.read_metrics(straight / "metrics.jsonl")
  assert [m["step"] for m in lines] == [1, 2, 3, 4, 5]
  for line in lines:
    assert {"accuracy_words", "accuracy_shape", "total"} <= line.keys()
    assert line["loss_words"] > 0
  # Every step has other sentences.
  assert min(line["total"] for line in lines[1:]) < lines[0]["total"]


@pytest.fixture
def zeros(monkeypatch):
  """A fresh model whose parameters are zeros: nothing is compiled."""

  def init_params(model, key):
    shapes = expected_shapes.model(model.variant)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  monkeypatch.setattr(sgmg, "init_params", init_params)
  return sgmg.SgMg(variants.get_variant(**SMALL))


def _save_sevens(folder, variant):
  """A backbone all of whose parameters are 7."""
  body = jax.tree.map(
    lambda x: np.full(x.shape, 7, x.dtype),
    expected_shapes.part("backbone", variant),
  )
  about = card.make(
    variant, name="sevens", source={}, licence="none", part="backbone"
  )
  native.save(folder, {"backbone_0": {"body": body}}, about, None)


def test_starts_a_training_together_with_another_part(
  straight, zeros, tmp_path
):
  _save_sevens(tmp_path / "sevens", zeros.variant)
  both = f"{tmp_path / 'sevens'}, {straight / 'model'}"
  tokenizer = tokenizer_lib.load_tokenizer(straight / "tokenizer")
  params, given = initial.init_params(
    zeros,
    seed=0,
    init_from=both,
    required=("backbone_0/.*", "text_encoder/.*"),
    reinitialise=(),
    tokenizer=tokenizer,
  )
  assert {name.split("/")[0] for name in given} == {
    "backbone_0",
    "text_encoder",
  }
  changed = [
    name
    for name, part in params.items()
    if any(np.any(x) for x in jax.tree.leaves(part))
  ]
  assert sorted(changed) == ["backbone_0", "text_encoder"]
  assert all((x == 7).all() for x in jax.tree.leaves(params["backbone_0"]))


def test_names_the_checkpoint_that_is_missing(straight, zeros, tmp_path):
  sources = f"{straight / 'model'},{tmp_path / 'nothing'}"
  with pytest.raises(UserError, match="no checkpoint .*nothing"):
    initial.init_params(
      zeros,
      seed=0,
      init_from=sources,
      required=(),
      reinitialise=(),
      tokenizer=None,
    )


def test_exports_the_tokenizer_it_was_trained_with(straight):
  ids = [
    tokenizer_lib.load_tokenizer(folder)("the red star")["input_ids"]
    for folder in (straight / "tokenizer", straight / "model/tokenizer")
  ]
  assert ids[0] == ids[1]


def _assert_same_text_encoder(*folders):
  shapes = expected_shapes.model(variants.get_variant(**SMALL))
  one, two = (native.start_from(shapes, f / "model") for f in folders)
  jax.tree.map(
    np.testing.assert_array_equal, one["text_encoder"], two["text_encoder"]
  )


def test_stop_and_resume_is_a_straight_run_bit_for_bit(
  straight, stop_after, tmp_path
):
  folder = tmp_path / "run"
  with pytest.raises(interrupt.Interrupted, match="^SIGTERM: step 3 is saved"):
    phases.pretrain(_config(), folder, stop_after(3))
  assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == [
    "2",
    "3",
  ]
  assert not (folder / "model").exists()
  phases.pretrain(_config(), folder)
  _assert_same_text_encoder(straight, folder)


def test_goes_on_bit_for_bit_from_a_bucket_without_its_workdir(
  straight, stop_after, emulated_buckets, tmp_path
):
  config = _config(checkpoint_dir="gs://bucket/text")
  with pytest.raises(interrupt.Interrupted, match="saved in gs://bucket/text/"):
    phases.pretrain(config, tmp_path / "first", stop_after(3))
  assert not (tmp_path / "first/checkpoints").exists()
  phases.pretrain(config, tmp_path / "second")
  _assert_same_text_encoder(straight, tmp_path / "second")
  one, two = (
    metric_writer.read_metrics(folder / "metrics.jsonl")
    for folder in (straight, tmp_path / "second")
  )
  assert [m["total"] for m in one] == [m["total"] for m in two]
  phases.pretrain(config, tmp_path / "third")  # Nothing is left to do.
  _assert_same_text_encoder(straight, tmp_path / "third")


@pytest.mark.slow  # Twice the run, which shares its programs.
def test_a_run_that_fills_the_disk_goes_on_bit_for_bit(
  straight, monkeypatch, tmp_path
):
  folder = tmp_path / "run"
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  save = checkpoint.Checkpointer.save

  def save_last_to_a_full_disk(self, state, position):
    if int(state.step) == 4:
      self.describe_last()
      resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    save(self, state, position)

  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.Checkpointer, "save", save_last_to_a_full_disk)
    try:
      with pytest.raises(UserError, match=f"write {folder}: File too large; "):
        phases.pretrain(_config(), folder)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert checkpoint_digests.find_intact(folder / "checkpoints") == 2
  phases.pretrain(_config(), folder)
  _assert_same_text_encoder(straight, folder)


def test_a_run_that_diverges_skips_explains_and_ends(tmp_path):
  folder = tmp_path / "run"
  config = _config(phases=((6, 24, 20, 1e30),), max_skipped=3)
  with pytest.raises(FloatingPointError, match="skipped in a row: 3"):
    phases.pretrain(config, folder)
  batch = np.load(next((folder / "not_finite").iterdir()))
  assert "tokens" in batch
  # What was saved before is still there and whole.
  last = max(int(p.name) for p in (folder / "checkpoints").iterdir())
  with pytest.raises(FloatingPointError, match="skipped in a row: 3"):
    phases.pretrain(config, folder)
  assert (folder / "checkpoints" / str(last)).exists()


def test_unknown_kind_of_pre_training(tmp_path):
  with pytest.raises(UserError, match="pretrain: .*text, video, got 'audio'"):
    phases.pretrain(_config(pretrain="audio"), tmp_path)


def test_train_refuses_the_config(tmp_path, capsys):
  arguments = ["train", f"--config={CONFIG}", f"--workdir={tmp_path}"]
  assert main.main(arguments) == 2
  assert "one for `sgmg pretrain`" in capsys.readouterr().err


def test_every_value_of_the_config_is_read(assert_reads_all):
  modules = (phases, tasks, loop)
  assert_reads_all(modules, train.load_config(str(CONFIG)))
