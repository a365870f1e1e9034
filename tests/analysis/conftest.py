"""Checkpoints of tiny models, with and without a decoder."""

import pytest

from sgmg_jax.checkpoints import card, native, random_weights
from sgmg_jax.model import variants

# Few blocks: nearly all the time here goes into compiling.
SIZES = dict(
  depths=(1, 1, 1, 1), encoder_layers=1, decoder_layers=1, text_layers=1
)


@pytest.fixture(scope="session")
def make_checkpoint(mu_checkpoint, tmp_path_factory):
  """`make_checkpoint(decoder="fpn")`: path of a model with random weights."""
  start = native.load(mu_checkpoint)
  folder = tmp_path_factory.mktemp("analysis")

  def make(**row):
    variant = variants.get_variant("mu", **SIZES, **row)
    path = folder / "-".join(["mu", *map(str, row.values())])
    about = card.make(
      variant,
      name=path.name,
      source={"made": "random weights"},
      licence="Apache-2.0",
      preprocess=card.preprocess_of(start.card, ""),
    )
    native.save(path, random_weights.make(variant), about, start.tokenizer)
    return path

  return make
