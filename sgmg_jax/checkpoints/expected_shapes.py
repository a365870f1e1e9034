"""Expected shapes of a variant's parameters, traced and not computed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from sgmg_jax import types
from sgmg_jax.checkpoints.torch import names
from sgmg_jax.model import backbone, sgmg, text_encoder, variants

# Where the part lives in the model's tree; `card.PARTS` has its sizes.
PATHS = {
  "backbone": ("backbone_0", "body"),
  "text_encoder": ("text_encoder", "text_backbone"),
  "video": (),  # all that `SgMg.encode_video` needs, several modules
}
_SIDE = types.MIN_PADDED_SIDE


@functools.lru_cache(maxsize=8)
def model(variant: variants.Variant) -> dict[str, Any]:
  """Parameter tree of `SgMg` as `jax.ShapeDtypeStruct`s."""
  struct = jax.ShapeDtypeStruct
  tokens = struct((1, 4), jnp.int32), struct((1, 4), jnp.bool_)
  return _init_shapes(sgmg.SgMg(variant=variant), *_video(), *tokens)


@functools.lru_cache(maxsize=8)
def part(name: str, variant: variants.Variant) -> dict[str, Any]:
  """Parameter tree of one part, a key of `PATHS`, without the path to it."""
  struct = jax.ShapeDtypeStruct
  if name == "backbone":
    module = backbone.make(variant)
    return _init_shapes(module, struct((1, 1, 32, 32, 3), jnp.float32))
  if name == "video":
    module = sgmg.SgMg(variant=variant)
    return _init_shapes(module, *_video(), method="encode_video")
  module = text_encoder.Roberta(
    vocab_size=variant.vocab_size,
    width=variant.text_width,
    num_layers=variant.text_layers,
    num_heads=variant.text_heads,
    ffn=variant.text_ffn,
    positions=variant.text_positions,
    pad_token_id=variant.pad_token_id,
  )
  return _init_shapes(
    module, struct((1, 4), jnp.int32), struct((1, 4), jnp.bool_)
  )


def digest(params: Mapping, variant: variants.Variant, part: str | None) -> str:
  """A name for these shapes in this variant or part of it.

  A card that holds it proves that the parameters were checked when saved:
  tracing a large model to check them again takes seconds.
  """
  shapes = {k: list(x.shape) for k, x in sorted(_flat(params).items())}
  content = [variants.sizes(variant), part, shapes]
  return hashlib.sha256(
    json.dumps(content, allow_nan=False).encode()
  ).hexdigest()


def check(params: Mapping, expected: Mapping, source: object) -> None:
  """Raise one UserError that lists each way `params` differs in shape."""
  have, want = (
    {k: tuple(x.shape) for k, x in _flat(tree).items()}
    for tree in (params, expected)
  )
  names.raise_misfits(
    str(source),
    [k for k in want if k not in have],
    [k for k in have if k not in want],
    [
      f"{k} is {have[k]}, expected {want[k]}"
      for k in want
      if k in have and have[k] != want[k]
    ],
  )


def _video():
  struct = jax.ShapeDtypeStruct
  return (
    struct((1, 1, _SIDE, _SIDE, 3), jnp.float32),
    struct((1, _SIDE, _SIDE), jnp.bool_),
    struct((1, 2), jnp.int32),
  )


def _init_shapes(module, *inputs, method=None):
  init = functools.partial(module.init, method=method)
  return jax.eval_shape(init, jax.random.key(0), *inputs)["params"]


def _flat(tree: Mapping) -> dict[str, Any]:
  return traverse_util.flatten_dict(tree, sep="/")
