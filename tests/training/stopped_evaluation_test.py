"""A run that was stopped while it evaluated, on a model of few parts."""

import functools
import pathlib

import pytest
from ml_collections import ConfigDict

from sgmg_jax.cli import train
from sgmg_jax.errors import UserError
from sgmg_jax.pretraining import phases
from sgmg_jax.training import evaluations, loop, metric_writer

# Pre-training compiles within seconds; both share the loop.
CONFIG = pathlib.Path(__file__).parents[2] / "configs/refshapes_text.py"


class Stopped(Exception):
  """What ends a run in the middle."""


@pytest.mark.slow  # A model is compiled.
def test_it_goes_on_with_the_evaluation(monkeypatch, tmp_path):
  seen = []

  def evaluate(params, step):
    seen.append(step)
    if seen in ([1, 2], [1, 2, 2, 3]):
      raise Stopped
    return {"refshapes/J&F": 0.1 * step}

  evaluate.pictures = {}

  monkeypatch.setattr(
    loop, "run", functools.partial(loop.run, evaluate=evaluate, export_every=1)
  )
  config = train.load_config(f"{CONFIG}:runlocal")
  config.model = ConfigDict(
    dict(name="mu", depths=(1, 1, 1, 1), vocab_size=512, text_layers=1)
  )
  config.update(phases=((2, 8, 4, 1e-3),), checkpoint_every=2)
  for _ in range(2):
    with pytest.raises(Stopped):
      phases.pretrain(config, tmp_path)
  phases.pretrain(config, tmp_path)
  # Step 2 has the last checkpoint: it is evaluated once more as that was
  # stopped, and then never again.
  assert seen == [1, 2, 2, 3, 3, 4]
  lines = metric_writer.read_metrics(tmp_path / "metrics.jsonl")
  scored = [m["step"] for m in lines if "val/refshapes/J&F" in m]
  assert scored == [1, 2, 3, 4]


def test_the_best_of_no_evaluation_is_refused_at_once(tmp_path):
  for name in ("davis/J&F", "J&F"):
    with pytest.raises(UserError, match="of none of the .*: refshapes"):
      evaluations.Best(tmp_path, name, ["refshapes"])
  evaluations.Best(tmp_path, "", [])
  evaluations.Best(tmp_path, "refshapes/J&F", ["refshapes"])
