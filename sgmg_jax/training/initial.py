"""Initial parameters of a run, and the settings that follow from them.

A recipe says in `init_required` which parameters the paper does not train from
nothing; a config for fine-tuning takes sizes, tokenizer and preprocessing from
the checkpoint that it starts from.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from sgmg_jax import types
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import expected_shapes, native
from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import recipes
from sgmg_jax.model import sgmg, variants

_logger = logging.getLogger(__name__)

# In a config: as the first checkpoint of `init_from` has it.
FROM_CHECKPOINT = "init_from"
_WORD_EMBEDDINGS = (
  "text_encoder/text_backbone/embeddings/word_embeddings/embedding"
)


class Initial(NamedTuple):
  """Parameters of a fresh run, and the names of those that a checkpoint gave;
  the others are random."""

  params: types.Params
  given: Set[str]


def resolve(config: ConfigDict) -> ConfigDict:
  """Fills in what a config leaves to the checkpoint that it starts from.

  That is all of this where `model.name` is "init_from": sizes (those beside
  the name stay), tokenizer, longest sentence, licence, preprocessing, and the
  sizes of training clips in proportion; any of them may be set instead.

  Returns:
    `config` itself where it leaves nothing open, else a copy.

  Raises:
    UserError: no checkpoint is named, or it is no whole model.
  """
  if config.init_required and not config.init_from:
    raise UserError(
      "init_from: expected the checkpoints that this recipe starts from, which "
      f"hold {', '.join(config.init_required)}; `sgmg convert` makes them of "
      "published weights, the head of the config has the commands"
    )
  if config.model.name != FROM_CHECKPOINT:
    return config
  source = config.init_from.split(",")[0].strip()
  if not source:
    raise UserError(
      "init_from: expected a checkpoint, such as refshapes-mini, whose sizes "
      "the model is to have"
    )
  card = native.read_card(source)
  if part := card.get("part"):
    raise UserError(
      f"init_from: {source} holds only the {part} part, expected a whole model "
      "first"
    )
  config = ConfigDict(config.to_dict())
  sizes = config.model.to_dict()
  sizes.pop("name")
  variant = variants.replace(
    card_lib.variant_of(card, source), sizes, "config.model"
  )
  config.model = ConfigDict(variants.describe(variant))
  tokenizer, export = config.tokenizer, config.export
  if tokenizer.source == FROM_CHECKPOINT:
    tokenizer.source = source
  tokenizer.max_tokens = min(tokenizer.max_tokens, variant.max_tokens)
  if export.licence == FROM_CHECKPOINT:
    export.licence = card.get("licence", "unknown")
  rules = card_lib.preprocess_of(card, source)
  if not export.preprocess:
    export.preprocess = ConfigDict(rules)
  sizes, buckets = recipes.clip_sizes(rules["video"]["short_side"])
  config.data.sizes = config.data.sizes or ConfigDict(sizes)
  config.data.buckets = config.data.buckets or buckets
  config.lock()
  return config


def init_params(
  model: sgmg.SgMg,
  *,
  seed: int,
  init_from: str,
  required: Sequence[str],
  reinitialise: Sequence[str],
  tokenizer: Any,
) -> Initial:
  """Random parameters, replaced by those of checkpoints.

  Args:
    init_from: checkpoints, comma-separated; the later wins.
    required: regular expressions on the names of parameters that these must
      give.
    reinitialise: the same of parameters that stay random all the same,
      whatever shapes a checkpoint has for them.
    tokenizer: words must have the numbers that those of the checkpoints had,
      unless their embeddings are drawn anew.

  Raises:
    UserError: see `native.start_from`; a checkpoint lacks what is required; or
      a pattern that selects no parameter.
  """
  shapes = expected_shapes.model(model.variant)
  names = _flat(shapes)
  drawn = _select(names, reinitialise, "reinitialise")
  if _WORD_EMBEDDINGS in drawn:
    tokenizer = None
  loaded = shapes
  for source in filter(None, map(str.strip, init_from.split(","))):
    loaded = native.start_from(
      loaded, source, tokenizer=tokenizer, without=reinitialise
    )
  values = _flat(loaded)
  given = {k for k in names if values[k] is not names[k]} - drawn
  missing = _select(names, required, "init_required") - given - drawn
  if missing:
    raise UserError(
      f"init_from = {init_from}: lacks {_some(missing)}, expected checkpoints "
      f"that hold {', '.join(required)}"
    )
  if init_from:
    _logger.info(
      "%d of %d parameters are those of %s", len(given), len(names), init_from
    )
  if init_from and drawn:
    _logger.info("drawn anew, as reinitialise says: %s", _some(drawn))
  # Drawing compiles, which takes longer than reading a checkpoint.
  random = {} if given == names.keys() else _flat(_draw(model, seed))
  params = {
    k: jnp.asarray(values[k], names[k].dtype) if k in given else random[k]
    for k in names
  }
  return Initial(traverse_util.unflatten_dict(params, sep="/"), given)


def check_frozen(trainable: types.Params, given: Set[str]) -> None:
  """Raises a UserError where what is frozen has been learned nowhere."""
  trained = _flat(trainable)
  random = {name for name in trained if not trained[name]} - given
  if random:
    raise UserError(
      f"optimizer.groups: {_some(random)} would be frozen at random values, "
      "expected a checkpoint of init_from that holds them (freeze_random=True "
      "allows it, in a smoke test)"
    )


def _flat(tree: types.Params) -> dict[str, Any]:
  return traverse_util.flatten_dict(tree, sep="/")


def _draw(model: sgmg.SgMg, seed: int) -> types.Params:
  draw = jax.jit(functools.partial(sgmg.init_params, model))
  return draw(jax.random.key(seed))


def _select(names, patterns, field) -> set[str]:
  """Selects the names that a pattern matches whole."""
  selected = set()
  for pattern in patterns:
    matched = {name for name in names if re.fullmatch(pattern, name)}
    if not matched:
      raise UserError(f"{field}: pattern {pattern!r} selects no parameter")
    selected |= matched
  return selected


def _some(names: Set[str]) -> str:
  first = sorted(names)[0]
  return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
