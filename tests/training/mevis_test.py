"""Sentences of MeViS that refer to no object reach training."""

import itertools

import pytest

from sgmg_jax.cli import config_files
from sgmg_jax.training import batches


@pytest.mark.parametrize("no_target", [True, False])
def test_sentences_without_object_are_trained_on(
  no_target, miniatures, tmp_path
):
  pytest.importorskip("tensorflow")
  miniatures.make_mevis(tmp_path, version=2)
  config = config_files.load("mevis:version=2,runlocal")
  config.data.root = str(tmp_path)
  config.data.no_target = no_target
  data = batches.open_data(config)
  shown = [
    bool(valid.any())
    for batch in itertools.islice(data._pipe, int(data.steps_per_epoch) + 2)
    for valid in batch.valid
    # All rows count.
    if batch.expression_valid is None
  ]
  assert (False in shown) == no_target
  assert True in shown
