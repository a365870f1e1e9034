"""Model card of a native checkpoint: sizes, preprocessing, source, licence."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from sgmg_jax import errors
from sgmg_jax.files import json_object
from sgmg_jax.model import variants

FORMAT = 1
_FIELDS = {"name": str, "variant": dict, "source": dict, "licence": str}
FILE = "card.json"
# Most sentences that Fast SgMg sees together, unless its card says otherwise.
MAX_GROUP = 16
# Sides that frames are resized to in each task, as in the released
# evaluations (None: the long side has no limit), and the frames of a window.
PREPROCESS = {
  "video": {"short_side": 360, "long_side": None},
  "annotated_frames": {"short_side": 360, "long_side": 640},
  "images": {"short_side": 360, "long_side": 640},
  "window": 36,
}
TASKS = ("video", "annotated_frames", "images")
# What older cards say of converted SgMg weights, whatever the task.
_OLD_OFFICIAL = {"short_side": 360, "long_side": 640}
# No side and no window is longer.
_MOST = 16384

# Of what `convert` makes, by the kind of its source.
LICENCES = {
  "sgmg": "CC-BY-NC-4.0: converted SgMg weights stay CC-BY-NC 4.0, "
  "non-commercial use only, with credit to the authors of SgMg",
  "kinetics": "as the source file; the public Video Swin weights are "
  "Apache-2.0",
  "swin": "as the source file; the public Swin weights are MIT",
  "inflated_swin": "as the source file; the public Swin weights are MIT",
  "resnet": "as the source file; the public torchvision weights are "
  "BSD-3-Clause",
  "roberta": "as the source folder; the public RoBERTa weights are MIT",
}

# Which sizes of the variant a checkpoint that holds only one part knows.
_BACKBONE = ("backbone", "embed_dim", "depths", "swin_heads", "swin_window")
PARTS = {
  "backbone": _BACKBONE,
  "video": (*_BACKBONE, "width"),
  "text_encoder": (
    "vocab_size",
    "text_width",
    "text_layers",
    "text_heads",
    "text_ffn",
    "text_positions",
    "pad_token_id",
  ),
}


def make(
  variant: variants.Variant,
  *,
  name: str,
  source: dict[str, Any],
  licence: str,
  part: str | None = None,
  preprocess: dict[str, Any] | None = None,
  max_group: int = MAX_GROUP,
  **extra: Any,
) -> dict[str, Any]:
  """A card, as `native.save` takes it.

  Args:
    source: what it was made from, e.g. {"file": …, "sha256": …}.
    licence: one line, also for people.
    part: one of `PARTS` if the checkpoint holds only that part.
    preprocess: as `PREPROCESS`, which is the default, or with `short_side`
      and `long_side` for all tasks alike.
    max_group: of Fast SgMg, most sentences that it is to see together.
    **extra: further JSON values, such as `results`.
  """
  sizes = variants.sizes(variant)
  card = {"format": FORMAT, "name": name}
  if part:
    held = {name: sizes[name] for name in PARTS[part] if name in sizes}
    card |= {"part": part, "variant": held}
  else:
    card |= {"variant": sizes, "preprocess": preprocess or PREPROCESS}
    if variant.decouple:
      card |= {"multi_object": True, "max_group": max_group}
  return {**card, "source": source, "licence": licence, **extra}


def read(directory: pathlib.Path) -> dict[str, Any]:
  """The card of a checkpoint directory.

  Raises:
    UserError: absent, no JSON, of another format, or without a field that all
      cards have.
  """
  path = directory / FILE
  if not path.is_file():
    raise errors.UserError(
      f"{directory} is no native checkpoint: it has no {FILE}"
    )
  card = json_object.read(path)
  if card.get("format") != FORMAT:
    raise errors.UserError(
      f"{path} has format {card.get('format')!r}, expected {FORMAT}"
    )
  for field, kind in _FIELDS.items():
    if not isinstance(card.get(field), kind):
      raise errors.UserError(
        f"{path} is damaged: field {field} is missing or no {kind.__name__}"
      )
  part = card.get("part")
  if part is not None and (not isinstance(part, str) or part not in PARTS):
    raise errors.UserError(
      f"{path}: card names part {part!r}, expected one of {', '.join(PARTS)}"
    )
  return card


def write(directory: pathlib.Path, card: dict[str, Any]) -> None:
  """Write `card.json`, readable for people."""
  text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
  (directory / FILE).write_text(text + "\n", encoding="utf-8")


def variant_of(card: dict[str, Any], where: object) -> variants.Variant:
  """The card's variant; sizes that only a part lacks have their defaults.

  Raises:
    UserError: unknown size, or a value of the wrong type.
  """
  return variants.replace(variants.Variant(), card["variant"], f"{where}: card")


def preprocess_of(card: dict[str, Any], where: object) -> dict[str, Any]:
  """The card's frame sizes by task, and its window, as `PREPROCESS`.

  A card with one pair of sides means it for every task. Converted SgMg weights
  are the exception: their older cards all say 360 and 640, which is right for
  pictures and not for videos.

  Raises:
    UserError: a field is missing, or a side or the window is not a number that
      it can be.
  """
  held = card.get("preprocess")
  if not isinstance(held, dict):
    raise errors.UserError(f"{where}: card field preprocess is missing")
  sides = {task: held.get(task) for task in TASKS}
  if "short_side" in held:
    flat = {side: held.get(side) for side in ("short_side", "long_side")}
    source = card.get("source")
    released = isinstance(source, dict) and source.get("kind") == "sgmg"
    for task in TASKS:
      official = released and flat == _OLD_OFFICIAL
      sides[task] = PREPROCESS[task] if official else flat
  for task, rule in sides.items():
    if not isinstance(rule, dict):
      raise errors.UserError(
        f"{where}: card field preprocess.{task} is missing"
      )
    field = f"preprocess.{task}"
    _check_count(rule.get("short_side"), f"{field}.short_side", where)
    if rule.get("long_side") is not None:
      _check_count(rule["long_side"], f"{field}.long_side", where)
  _check_count(held.get("window"), "preprocess.window", where)
  return {**sides, "window": held["window"]}


def max_group_of(card: dict[str, Any], where: object) -> int:
  """Most sentences that Fast SgMg sees together; 0 of SgMg.

  Raises:
    UserError: it is no such number, or the card calls SgMg a Fast SgMg.
  """
  fast = bool(variant_of(card, where).decouple)
  if card.get("multi_object", fast) is not fast:
    raise errors.UserError(
      f"{where}: card field multi_object is {card['multi_object']!r}, expected "
      f"{fast} as the variant has it"
    )
  if not fast:
    return 0
  most = card.get("max_group", MAX_GROUP)
  _check_count(most, "max_group", where)
  return most


def _check_count(value: Any, field: str, where: object) -> None:
  if type(value) is not int or not 1 <= value <= _MOST:
    raise errors.UserError(
      f"{where}: card field {field} is {value!r}, expected an integer from 1 "
      f"to {_MOST}"
    )
