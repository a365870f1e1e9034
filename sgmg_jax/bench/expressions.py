"""Cost of several sentences about a video: SgMg beside Fast SgMg.

Three ways to answer n sentences: n whole passes of SgMg, which the paper
compares with (section 3.5, tables 1 and 4); SgMg with the video encoded once;
and Fast SgMg, which sees all at once. What runs are the programs of the
predictor; decoding and mask files are not counted.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import statistics
from typing import Any, Final

import jax
import numpy as np

from sgmg_jax.bench import fixtures, report
from sgmg_jax.checkpoints import card, random_weights
from sgmg_jax.errors import UserError
from sgmg_jax.files import atomic
from sgmg_jax.inference import expression_groups, preprocess, programs, stages
from sgmg_jax.model import variants
from sgmg_jax.pictures import line_chart

_NUM_TOKENS: Final = 16
WAYS: Final = {
  "passes": "SgMg, a pass for each",
  "encoded_once": "SgMg, encoded once",
  "fast": "Fast SgMg",
}


@dataclasses.dataclass(frozen=True)
class Setup:
  """Set-up; `counts` of sentences, "1,2,4"; `figure`, a PNG to be drawn."""

  variant: str = "video_swin_t"
  frames: int = 5
  height: int = 360
  width: int = 640
  dtype: str = "float32"
  precision: str = "highest"
  counts: str = "1,2,4,6,8,10"
  repeats: int = 5
  figure: str = ""


def measure(setup: Setup) -> dict[str, Any]:
  """All figures of one set-up, all ways in every round.

  Returns:
    "counts": {n: {way: median seconds, and "<way>_rate", frames x sentences a
    second; "speed_up": the passes' seconds over Fast SgMg's}}; "further_share":
    {way: seconds of a further sentence, of a straight line through all counts,
    over those of a pass}; and "peak_memory_gb".

  Raises:
    UserError: no such variant or counts, or sizes that the model cannot run.
  """
  fixtures.check(setup.variant, setup.height, setup.width)
  counts = _counts(setup.counts)
  if setup.figure:
    atomic.check_file(pathlib.Path(setup.figure))
  plain, fast = _Model(setup, ""), _Model(setup, "features")
  seconds: dict[tuple[str, int], list[float]] = {}
  # The first round compiles.
  for round_ in range(-1, setup.repeats):
    encode = report.seconds(plain.encode)
    query = report.seconds(functools.partial(plain.answer, 1))
    fast.video = plain.video
    for n in counts:
      took = {
        "passes": n * (encode + query),
        "encoded_once": encode + _in_groups(plain, n, query),
        "fast": encode + report.seconds(functools.partial(fast.answer, n)),
      }
      for way, value in took.items():
        if round_ >= 0:
          seconds.setdefault((way, n), []).append(value)
  medians = {key: statistics.median(values) for key, values in seconds.items()}
  figures = _figures(setup, counts, medians)
  if setup.figure:
    _draw(setup.figure, counts, figures["counts"])
  return figures


def _figures(setup, counts, medians):
  rows = {}
  for n in counts:
    row = {way: medians[way, n] for way in WAYS}
    rates = {f"{way}_rate": n * setup.frames / row[way] for way in WAYS}
    rows[str(n)] = row | rates | {"speed_up": row["passes"] / row["fast"]}
  figures: dict[str, Any] = {"counts": rows}
  if len(counts) > 1:
    one = medians["passes", counts[0]] / counts[0]
    figures["further_share"] = {
      way: float(np.polyfit(counts, [medians[way, n] for n in counts], 1)[0])
      / one
      for way in WAYS
    }
  return figures | {"peak_memory_gb": report.peak_memory_gb()}


def _in_groups(model: _Model, count: int, one: float) -> float:
  """Seconds of so many sentences in the groups that a predictor makes; `one`
  those of a single one."""
  size = 1 if jax.devices()[0].platform == "cpu" else stages.GROUP
  if size == 1:
    return count * one
  number = -(-count // size)
  return number * report.seconds(functools.partial(model.answer, size))


class _Model:
  """The programs of a model with random weights and inputs."""

  def __init__(self, setup: Setup, decouple: str):
    variant = variants.get_variant(setup.variant, decouple=decouple)
    self._fast = bool(decouple)
    self._programs = programs.compiled(variant, setup.dtype, setup.precision)
    self._params = jax.device_put(random_weights.make(variant))
    geometry = preprocess.plan_geometry(
      setup.height, setup.width, short_side=setup.height, long_side=None
    )
    length = preprocess.time_bucket(setup.frames)
    random = np.random.RandomState(0)
    self._clip = random.randint(
      0, 256, (1, length, *geometry.padded, 3)
    ).astype(np.uint8)
    self._size = np.array([geometry.size], np.int32)
    self._length = np.int32(setup.frames)
    high = min(variant.vocab_size, 100)
    self._tokens = random.randint(4, high, (card.MAX_GROUP, _NUM_TOKENS))
    self.video: Any = None

  def encode(self) -> None:
    """What does not depend on sentences."""
    self.video = jax.block_until_ready(
      self._programs.encode_video(
        self._params, self._clip, self._size, self._length
      )
    )

  def answer(self, count: int) -> None:
    """Encode so many sentences and answer them together."""
    rows = (
      expression_groups.padded(count, card.MAX_GROUP) if self._fast else count
    )
    tokens = self._tokens[:rows]
    valid = np.broadcast_to(np.arange(rows)[:, None] < count, tokens.shape)
    text = self._programs.encode_text(self._params, tokens, valid)
    query = self._programs.query
    jax.block_until_ready(query(self._params, self.video, text))


def _counts(text: str) -> list[int]:
  parts = text.split(",")
  most = card.MAX_GROUP
  if not all(p.isdecimal() and 1 <= int(p) <= most for p in parts):
    raise UserError(
      f"--counts {text}: expected numbers of sentences from 1 to {most} with "
      "commas between them"
    )
  return sorted(set(map(int, parts)))


def _draw(path: str, counts, rows) -> None:
  """Frames x sentences a second over the number of sentences."""
  lines = {
    name: [(n, rows[str(n)][f"{way}_rate"]) for n in counts]
    for way, name in WAYS.items()
  }
  picture = line_chart.draw(
    lines, x="sentences", y="frames x sentences a second"
  )
  with atomic.output(path, overwrite=True) as new:
    picture.save(new, "PNG")
