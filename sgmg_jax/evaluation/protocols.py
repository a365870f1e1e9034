"""Registry: how the predictions of each data set are scored."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import parallel, prediction_folder
from sgmg_jax.evaluation import scores as scores_lib
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.input_pipeline.sets import registry


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How a data set is scored.

  Attributes:
    module: of this package; its `score` takes a `Truth`, a path, `computes`
      and `run`, which applies a function to jobs and keeps their order.
    computes: one line, for people.
    source: of the protocol.
    split: that is commonly scored; "" where no split is.
    predictions: layout of what is scored.
  """

  module: str
  computes: str
  source: str
  split: str
  predictions: str


_MASKS: Final = "[Annotations/]<video>/<expression>/<frame>.png"
_LABELS: Final = "[DVS_Annotations/]anno_<0..3>/<video>/<frame>.png"
_JSON: Final = "COCO results (JSON)"
_VIDEOS: Final = "J&F, mean over frames, then over sentences"
_FRAMES: Final = "COCO AP of masks; precision@K and IoU of the best query"
_IMAGES: Final = (
  "IoU and precision@K of the best query's mask and box, box_Acc@0.5, COCO AP"
)


def _videos(source: str, split: str, computes: str = _VIDEOS) -> Protocol:
  return Protocol("mask_videos", computes, source, split, _MASKS)


def _frames(source: str, split: str, computes: str = _FRAMES) -> Protocol:
  return Protocol("annotated_frames", computes, source, split, _JSON)


_MTTR: Final = "Botach et al., MTTR, CVPR 2022; mAP of SgMg, ICCV 2023"
_REFER: Final = "Yu et al., ECCV 2016; overall IoU of SgMg, ICCV 2023"

PROTOCOLS: Final[Mapping[str, Protocol]] = {
  "refer_ytvos": _videos(
    "Seo et al., URVOS, ECCV 2020",
    "valid",
    # The server's code is not public.
    f"local: {_VIDEOS}",
  ),
  "refer_davis": Protocol(
    "refer_davis",
    "J&F of DAVIS 2017, unsupervised, mean of four annotators",
    "davis2017-evaluation; Khoreva et al., ACCV 2018",
    "valid",
    _LABELS,
  ),
  "mevis": _videos("Ding et al., MeViS, ICCV 2023", "valid_u"),
  "a2d": _frames(_MTTR, "test"),
  "jhmdb": _frames(_MTTR, "test"),
  "refcoco": _frames(_REFER, "val", _IMAGES),
  "refcoco+": _frames(_REFER, "val", _IMAGES),
  "refcocog": _frames(_REFER, "val", _IMAGES),
  "refshapes": Protocol(
    "refshapes", f"{_VIDEOS}; also swapped", "this project", "test", _MASKS
  ),
  "own": _videos("as Ref-YouTube-VOS", ""),
}


def find_truth(
  path: str | os.PathLike,
  name: str | None = None,
  split: str | None = None,
  options: Iterable[tuple[str, Any]] = (),
) -> truth_lib.Truth:
  """Find the ground truth in a folder.

  Args:
    path: of the data set, raw or built.
    name: of it; None recognises it by its files.
    split: None takes that of `PROTOCOLS`.

  Raises:
    UserError: nothing is recognised, or several things are.
  """
  name = name or truth_lib.recognise(path)
  if registry.about(name).family == "drawn" and not truth_lib.is_built(
    path, name
  ):
    raise UserError(
      f"{path}: {name} is drawn and was not built there; what lies as "
      "Ref-YouTube-VOS does is own data"
    )
  split = split or get(name).split or truth_lib.only_split(path)
  return truth_lib.Truth(name, path, split, tuple(options))


def get(name: str) -> Protocol:
  """The protocol of a data set.

  Raises:
    UserError: an unknown name.
  """
  registry.about(name)
  if name not in PROTOCOLS:
    raise UserError(
      f"data set {name!r}: no protocol, expected one of {', '.join(PROTOCOLS)}"
    )
  return PROTOCOLS[name]


def score(
  truth: truth_lib.Truth,
  predictions: str | os.PathLike,
  *,
  allow_missing: bool = False,
  processes: int | None = None,
  **options: Any,
) -> scores_lib.Scores:
  """Score predictions by the protocol of their data set.

  Args:
    truth: the ground truth.
    predictions: path of files as `Protocol.predictions` says.
    allow_missing: count masks that are missing as empty ones.
    processes: that work; None: one for each core. On a terminal they show a
      bar.
    options: of the protocol.

  Raises:
    Unusable: files are missing, of another size or wrongly encoded.
    UserError: there are no such files, or the ground truth is damaged.
  """
  protocol = get(truth.name)
  module = importlib.import_module(f"{__package__}.{protocol.module}")
  return module.score(
    truth,
    prediction_folder.predictions_in(predictions),
    protocol=protocol.computes,
    allow_missing=allow_missing,
    run=parallel.with_bar(processes),
    **options,
  )
