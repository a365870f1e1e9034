"""Model cards: sizes of frames by task, in cards of every age."""

import math

import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints import card, native
from sgmg_jax.model import variants

FLAT = {"short_side": 360, "long_side": 640, "window": 36}


def _card(kind, preprocess):
  return card.make(
    variants.get_variant("mu"),
    name="mu",
    source={"kind": kind},
    licence="none",
    preprocess=preprocess,
  )


def test_released_protocol():
  rules = card.preprocess_of(_card("sgmg", None), "mu")
  assert rules["video"] == {"short_side": 360, "long_side": None}
  assert rules["annotated_frames"] == {"short_side": 360, "long_side": 640}
  assert rules["images"] == {"short_side": 360, "long_side": 640}
  assert rules["window"] == 36


def test_old_cards():
  sides = {"short_side": 360, "long_side": 640}
  # Converted weights: the released protocol was meant.
  rules = card.preprocess_of(_card("sgmg", FLAT), "mu")
  assert rules == card.PREPROCESS
  # Of a model trained here, or with sizes of its own: as they say.
  rules = card.preprocess_of(_card("trained", FLAT), "mu")
  assert rules["video"] == rules["images"] == sides
  rules = card.preprocess_of(_card("sgmg", FLAT | {"short_side": 480}), "mu")
  assert rules["video"] == sides | {"short_side": 480}
  mini = card.read(native.PRETRAINED / "refshapes-mini")
  rules = card.preprocess_of(mini, "mini")
  assert rules["video"] == {"short_side": 160, "long_side": 320}
  assert rules["window"] == 8


@pytest.mark.parametrize(
  "change, message",
  [
    ({"short_side": None}, "video.short_side is None"),
    ({"short_side": 2**31}, "video.short_side is 2147483648"),
    ({"long_side": "640"}, "video.long_side is '640'"),
    ({"window": 0}, "window is 0"),
    ({"window": 1.5}, "window is 1.5"),
    ({"window": True}, "window is True"),
  ],
)
def test_bad_sizes_are_named(change, message):
  with pytest.raises(errors.UserError, match=f"mu: .*preprocess.{message}"):
    card.preprocess_of(_card("trained", FLAT | change), "mu")


def test_missing_sizes_are_named():
  with pytest.raises(errors.UserError, match="preprocess is missing"):
    card.preprocess_of({}, "mu")
  part = {k: v for k, v in card.PREPROCESS.items() if k != "images"}
  with pytest.raises(errors.UserError, match="preprocess.images is missing"):
    card.preprocess_of({"preprocess": part}, "mu")


def test_cards_hold_no_nan(tmp_path):
  with pytest.raises(ValueError):
    card.write(tmp_path, _card("trained", None) | {"results": math.nan})
