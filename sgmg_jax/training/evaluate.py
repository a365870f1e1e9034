"""The evaluator that a training run gets by its config."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from sgmg_jax.evaluation import refshapes
from sgmg_jax.inference import clip_predictor
from sgmg_jax.model import sgmg
from sgmg_jax.training import run_tokenizer

Evaluator = refshapes.Evaluator


def make_evaluator(
  config: ConfigDict, model: sgmg.SgMg, tokenizer: Any
) -> Evaluator | None:
  """Makes the evaluator of the run's data, of parameters -> scores by name.

  Returns:
    One of the val split of RefShapes; None for other data.
  """
  if config.data.kind != "refshapes":
    return None
  predictor = clip_predictor.ClipPredictor(
    model,
    tokenizer,
    max_tokens=config.tokenizer.max_tokens,
    on_truncation=run_tokenizer.TruncationCounter(),
  )
  return refshapes.Evaluator(
    predictor,
    split="val",
    num_clips=config.eval.num_clips,
    num_frames=config.eval.num_frames,
    height=config.data.height,
    width=config.data.width,
  )
