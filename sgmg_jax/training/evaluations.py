"""Evaluations along a training: those that `config.evals` names."""

from __future__ import annotations

import json
import logging
import pathlib
import shutil
from collections.abc import Collection, Mapping
from typing import Any, Final

import PIL.Image
from ml_collections import ConfigDict

from sgmg_jax import distributed, types
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import evaluator, gallery, prediction_folder
from sgmg_jax.files import json_object
from sgmg_jax.inference import predictor
from sgmg_jax.model import variants
from sgmg_jax.training import run_tokenizer, workdir

_logger = logging.getLogger(__name__)

BEST_FILE: Final = "best.json"
_NUM_PICTURES: Final = 4


class Evaluations:
  """Scores the parameters of a run on benchmarks, as `sgmg evaluate` does.

  What an interrupted evaluation predicted is used when the run goes on. Of a
  finished one the scores stay, in `evals/<name>/<step>/`; the masks of all
  steps would fill a disk.

  Attributes:
    pictures: of a few sentences, the same in every call, after each call; by
      "val/<name of the evaluation>/<number>".
  """

  def __init__(
    self,
    config: ConfigDict,
    folder: pathlib.Path,
    variant: variants.Variant,
    tokenizer: Any,
  ):
    """Open all data sets, so that what lacks is told before the first step.

    Raises:
      UserError: a data set cannot be read, or has no ground truth.
    """
    self._config, self._folder = config, folder
    self._variant, self._tokenizer = variant, tokenizer
    self._truncations = run_tokenizer.TruncationCounter()
    self._settings = {
      name: evaluator.Settings.from_config(config.evals[name])
      for name in config.evals.keys()
    }
    self._truths = {}
    self.pictures: dict[str, PIL.Image.Image] = {}
    for name, settings in self._settings.items():
      self._truths[name] = truth = settings.truth()
      if not truth.is_public:
        raise UserError(
          f"evals.{name}: {settings.name} {settings.split} has no public "
          "ground truth, expected a split that can be scored"
        )

  def __bool__(self) -> bool:
    return bool(self._settings)

  def __call__(self, params: types.Params, step: int) -> dict[str, float]:
    """Score parameters.

    Returns:
      Fractions of 1, by "<name of the evaluation>/<number>"; those that a
      data set has no objects for are left out. Nothing in all processes but
      the first.
    """
    found = {}
    self.pictures = {}
    for name, settings in self._settings.items():
      out = self._folder / "evals" / name / f"{step:08d}"
      result = evaluator.evaluate(
        [self._predictor(params, self._config.evals[name])],
        settings,
        out,
        truth=self._truths[name],
        overwrite=True,
      )
      if not distributed.is_leader():
        continue
      numbers = result.scores.numbers
      found |= {f"{name}/{k}": v for k, v in numbers.items() if v == v}
      strips = gallery.Gallery(self._truths[name], out).strips(
        result.scores.rows, _NUM_PICTURES
      )
      self.pictures |= {f"val/{name}/{k}": s for k, s in enumerate(strips)}
      shutil.rmtree(out / prediction_folder.PREDICTIONS)
      shutil.rmtree(out / prediction_folder.PROGRESS)
      main = result.scores.main
      _logger.info("step %d: %s %s %.1f", step, name, main, 100 * numbers[main])
    return found

  def _predictor(
    self, params: types.Params, config: ConfigDict
  ) -> predictor.Predictor:
    card = card_lib.make(
      self._variant,
      name=self._config.export.name,
      source={},
      licence=self._config.export.licence,
      preprocess=self._config.export.preprocess.to_dict(),
      max_group=max_group(self._config),
    )
    # Programs are compiled once, whatever the parameters.
    return predictor.Predictor(
      native.Checkpoint(params, self._variant, card, self._tokenizer),
      config.dtype,
      config.precision,
      on_truncation=self._truncations,
    )


def max_group(config: ConfigDict) -> int:
  """Most sentences that a trained Fast SgMg is to see: those of its clips."""
  trained = config.data.expressions_per_clip
  return trained if trained > 1 else card_lib.MAX_GROUP


class Best:
  """The best value of one number so far, kept in the run's folder."""

  def __init__(
    self, folder: pathlib.Path, name: str, evaluations: Collection[str]
  ):
    """Note what is compared.

    Args:
      name: of the number, "<name of the evaluation>/<number>"; "": none.

    Raises:
      UserError: there is no such evaluation.
    """
    if name and name.partition("/")[0] not in evaluations:
      raise UserError(
        f"best: {name!r} is of none of the evaluations in config.evals: "
        f"{', '.join(evaluations) or 'there are none'}"
      )
    self._file, self._name = folder / BEST_FILE, name

  def is_beaten(self, scores: Mapping[str, float]) -> bool:
    """Whether these scores are better, or the first.

    Raises:
      UserError: they have no such number.
    """
    if not self._name:
      return False
    if self._name not in scores:
      raise UserError(
        f"best: no number {self._name!r} among those of config.evals: "
        f"{', '.join(scores) or 'there are none'}"
      )
    if not self._file.exists():
      return True
    held = json_object.read(self._file)
    return held.get("name") != self._name or scores[self._name] > held["value"]

  def note(self, step: int, scores: Mapping[str, float]) -> None:
    """Write down the scores of a step."""
    content = {"name": self._name, "value": scores[self._name], "step": step}
    workdir.write_text(self._file, json.dumps(content, allow_nan=False) + "\n")
