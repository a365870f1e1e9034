"""Every recipe trains on a miniature of its data, from files to a model.

`a2d`, `finetune_own` and `refshapes` have tests of their own.
"""

import numpy as np
import pytest

import sgmg_jax
from sgmg_jax.checkpoints import native
from sgmg_jax.cli import main
from sgmg_jax.training import metric_writer

pytestmark = pytest.mark.slow

# Nearly all the time goes into compiling: few blocks, and programs that
# several recipes share.
SMALL = (
  "--config.model.depths=(1,1,1,1)",
  "--config.model.encoder_layers=1",
  "--config.model.decoder_layers=1",
  "--config.model.text_layers=1",
  "--config.data.buckets=((224,224),)",
  "--config.mesh.data=1",
  "--config.total_steps=2",
  "--config.eval.every=2",
)


@pytest.fixture(scope="module")
def root(miniatures, tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  miniatures.make_refcoco(folder)
  miniatures.make_refer_ytvos(folder)
  miniatures.make_mevis(folder)
  return folder


@pytest.mark.parametrize(
  "recipe, more",
  [
    ("refcoco_pretrain", ()),
    ("refer_ytvos", ()),
    ("joint", ()),
    ("mevis", ()),
    ("refer_ytvos:fast", ("--config.data.expressions_per_clip=3",)),
  ],
)
def test_trains_and_segments(recipe, more, root, tmp_path):
  name, _, arg = recipe.partition(":")
  arg = ",".join(filter(None, ("runlocal", arg)))
  workdir = tmp_path / "run"
  done = main.main(
    [
      "train",
      f"--config={name}:{arg}",
      f"--workdir={workdir}",
      f"--config.data.root={root}",
      *SMALL,
      *more,
    ]
  )
  assert done == 0
  lines = [m for m in metric_writer.read_metrics(workdir / "metrics.jsonl")]
  losses = [m["total"] for m in lines if "total" in m]
  assert len(losses) == 2 and np.isfinite(losses).all()
  model = sgmg_jax.load(workdir / "model")
  assert bool(model.max_group) == (arg == "runlocal,fast")
  video = np.random.RandomState(0).randint(0, 256, (1, 96, 128, 3), np.uint8)
  found = model.segment(video, ["the red ball", "the dog"])
  assert found.masks.shape == (2, 1, 96, 128)
  assert np.isfinite(found.scores).all()
  assert native.read_card(workdir / "model")["source"]["config"]
