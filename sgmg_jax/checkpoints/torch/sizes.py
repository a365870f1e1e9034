"""Read a model's sizes off the shapes of a released state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from sgmg_jax import errors
from sgmg_jax.model import variants

StateDict = Mapping[str, np.ndarray]

# Stands in for a missing entry, so that whoever reads the parameters can list
# it with all others that are missing.
_DEFAULTS = variants.Variant()


def backbone_sizes(state_dict: StateDict, prefix: str = "") -> dict:
  """`embed_dim`, `depths` and `swin_heads` of a Swin, 2-D or video.

  Raises:
    UserError: no Swin of four stages below `prefix`.
  """
  block = re.compile(re.escape(prefix) + r"layers\.(\d+)\.blocks\.(\d+)\.(.+)")
  depths, heads = {}, dict(enumerate(_DEFAULTS.swin_heads))
  for key, array in state_dict.items():
    if match := block.fullmatch(key):
      stage, index = int(match[1]), int(match[2])
      depths[stage] = max(depths.get(stage, 0), index + 1)
      if match[3] == "attn.relative_position_bias_table":
        heads[stage] = array.shape[-1]
  if sorted(depths) != [0, 1, 2, 3]:
    raise errors.UserError(
      f"no Swin transformer: expected the blocks of four stages under "
      f"{prefix}layers.0 to {prefix}layers.3, got stages {sorted(depths)}"
    )
  patches = f"{prefix}patch_embed.proj.weight"
  return {
    "embed_dim": _size(state_dict, patches, 0, _DEFAULTS.embed_dim),
    "depths": tuple(depths[i] for i in range(4)),
    "swin_heads": tuple(heads[i] for i in range(4)),
  }


def model_variant(state_dict: StateDict, **sizes: int) -> variants.Variant:
  """The variant of a whole model.

  Shapes do not tell the numbers of heads; those are the ones of the named
  variant with the same widths, unless given.

  Args:
    state_dict: arrays by released name.
    **sizes: `Variant` fields that are known.

  Raises:
    UserError: no four-stage Swin inside, or the numbers of heads cannot be
      told.
  """
  text = "text_encoder.text_backbone."
  layer = "transformer.encoder.layers.0"
  words = f"{text}embeddings.word_embeddings.weight"
  positions = f"{text}embeddings.position_embeddings.weight"
  entries = {
    "width": ("transformer.level_embed", 1),
    "ffn_dim": (f"{layer}.linear1.bias", 0),
    "num_queries": ("query_embed.weight", 0),
    "vocab_size": (words, 0),
    "text_width": (words, 1),
    "text_ffn": (f"{text}encoder.layer.0.intermediate.dense.bias", 0),
    "text_positions": (positions, 0),
  }
  inferred = {
    **backbone_sizes(state_dict, "backbone.0.body."),
    **{
      field: _size(state_dict, key, axis, getattr(_DEFAULTS, field))
      for field, (key, axis) in entries.items()
    },
    "encoder_layers": _count(state_dict, "transformer.encoder.layers."),
    "decoder_layers": _count(state_dict, "transformer.decoder.layers."),
    "text_layers": _count(state_dict, f"{text}encoder.layer."),
  }
  width = inferred["width"]
  weights = f"{layer}.self_attn.attention_weights.bias"
  # heads * levels * points
  rows = _size(state_dict, weights, 0, 8 * variants.NUM_LEVELS * 4)
  for known in variants.VARIANTS.values():
    if all(getattr(known, key) == value for key, value in inferred.items()):
      inferred |= {"drop_path": known.drop_path, "dropout": known.dropout}
    known_rows = known.num_heads * variants.NUM_LEVELS * known.num_points
    if (known.width, known_rows) == (width, rows):
      inferred |= {
        "num_heads": known.num_heads,
        "num_points": known.num_points,
      }
    if known.text_width == inferred["text_width"]:
      inferred["text_heads"] = known.text_heads
  inferred |= sizes
  if "num_heads" in inferred and "num_points" not in inferred:
    samples = variants.NUM_LEVELS * inferred["num_heads"]
    inferred["num_points"] = rows // samples
  untold = [k for k in ("num_heads", "text_heads") if k not in inferred]
  if untold:
    raise errors.UserError(
      f"shapes do not tell {' and '.join(untold)}: give "
      + " ".join(f"--size {key}=N" for key in untold)
    )
  return variants.get_variant("video_swin_t", **inferred)


def _count(state_dict: StateDict, prefix: str) -> int:
  indices = [
    int(key.removeprefix(prefix).partition(".")[0])
    for key in state_dict
    if key.startswith(prefix)
  ]
  return max(indices, default=-1) + 1


def _size(state_dict: StateDict, key: str, axis: int, default: int) -> int:
  shape = state_dict[key].shape if key in state_dict else ()
  return shape[axis] if len(shape) > axis else default
