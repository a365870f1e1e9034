"""Fine-tuning a checkpoint on a folder of one's own, from one command."""

import jax
import numpy as np
import pytest

import sgmg_jax
from sgmg_jax.checkpoints import card, native
from sgmg_jax.cli import main
from sgmg_jax.model import variants
from sgmg_jax.training import metric_writer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(small_checkpoint, miniatures, tmp_path_factory):
  folder = tmp_path_factory.mktemp("finetune")
  small_checkpoint(folder / "start")
  miniatures.make_own(folder)
  done = main.main(
    [
      "train",
      "--config=finetune_own:runlocal",
      f"--workdir={folder}/run",
      f"--config.init_from={folder}/start",
      f"--config.data.root={folder}/own",
      # Two devices could not share its two clips and take one after the other.
      "--config.mesh.data=1",
      # One shape, one compilation.
      "--config.data.buckets=((288,288),)",
      "--config.total_steps=4",
    ]
  )
  assert done == 0
  return folder


def test_only_what_is_trained_has_changed(run):
  before = native.load(run / "start")
  after = native.load(run / "run/model")
  assert after.variant == before.variant
  assert after.tokenizer.get_vocab() == before.tokenizer.get_vocab()
  assert after.card["preprocess"] == card.preprocess_of(before.card, "")
  sizes = after.card["source"]["config"]["model"]
  assert variants.get_variant(**sizes) == before.variant
  for name, frozen in (
    ("text_encoder", True),
    ("backbone_0", False),
    ("class_embed_0", False),
  ):
    pair = (jax.tree.leaves(c.params[name]) for c in (before, after))
    moved = [np.abs(b - np.float32(a)).max() for a, b in zip(*pair)]
    assert (max(moved) == 0) == frozen, name
    # Four small steps from the checkpoint's values, not from random ones.
    assert max(moved) < 1e-3, name


def test_a_longer_smoke_test_keeps_its_learning_rate(run):
  lines = metric_writer.read_metrics(run / "run/metrics.jsonl")
  rates = [m["learning_rate"] for m in lines if "total" in m]
  assert len(rates) == 4
  np.testing.assert_allclose(rates, 5e-5)
  assert {m["truncated_sentences"] for m in lines if "total" in m} == {0}


def test_the_result_segments(run):
  video = np.random.RandomState(0).randint(0, 256, (2, 96, 128, 3), np.uint8)
  result = sgmg_jax.load(run / "run/model").segment(video, ["the red circle"])
  assert result.masks.shape == (1, 2, 96, 128)
  assert np.isfinite(result.scores).all()
