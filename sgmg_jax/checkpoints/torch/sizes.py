"""Read a model's sizes off the shapes of a released state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from sgmg_jax import errors
from sgmg_jax.model import variants, window_attention

StateDict = Mapping[str, np.ndarray]

# Stands in for a missing entry, so that whoever reads the parameters can list
# it with all others that are missing.
_DEFAULTS = variants.Variant()


def backbone_sizes(state_dict: StateDict, prefix: str = "") -> dict:
  """`backbone` and its sizes of a Swin, 2-D or video, or a ResNet.

  Raises:
    UserError: none of four stages below `prefix`.
  """
  stem = f"{prefix}conv1.weight"
  if stem in state_dict:
    return {
      "backbone": "resnet",
      "embed_dim": _size(state_dict, stem, 0, 64),
      "depths": _depths(state_dict, f"{prefix}layer", 1, ".", "ResNet"),
    }
  depths = _depths(state_dict, f"{prefix}layers.", 0, ".blocks.", "Swin")
  table = "attn.relative_position_bias_table"
  first = f"{prefix}layers.0.blocks.0.{table}"
  patches = f"{prefix}patch_embed.proj.weight"
  sizes = {
    "embed_dim": _size(state_dict, patches, 0, _DEFAULTS.embed_dim),
    "depths": depths,
    "swin_heads": tuple(
      _size(state_dict, f"{prefix}layers.{i}.blocks.0.{table}", 1, heads)
      for i, heads in enumerate(_DEFAULTS.swin_heads)
    ),
  }
  if np.ndim(state_dict.get(patches)) != 4:
    return {"backbone": "video_swin", **sizes}
  window = window_attention.window_of_table(_size(state_dict, first, 0, 0))
  side = window[1] if window else _DEFAULTS.swin_window
  return {"backbone": "swin", **sizes, "swin_window": side}


def _depths(state_dict, stages, first, blocks, what) -> tuple[int, ...]:
  """Blocks per stage, by names like `stages` 1 `blocks` 0, from `first` on."""
  name = re.compile(rf"{re.escape(stages)}(\d+){re.escape(blocks)}(\d+)\..+")
  depths = {}
  for key in state_dict:
    if match := name.fullmatch(key):
      stage, index = int(match[1]) - first, int(match[2])
      depths[stage] = max(depths.get(stage, 0), index + 1)
  if sorted(depths) != [0, 1, 2, 3]:
    raise errors.UserError(
      f"no {what}: expected the blocks of four stages under {stages}{first} to "
      f"{stages}{first + 3}, got stages {[i + first for i in sorted(depths)]}"
    )
  return tuple(depths[i] for i in range(4))


def model_variant(state_dict: StateDict, **sizes: int) -> variants.Variant:
  """The variant of a whole model.

  Shapes do not tell the numbers of heads; those are the ones of the named
  variant with the same widths, unless given.

  Args:
    state_dict: arrays by released name.
    **sizes: `Variant` fields that are known.

  Raises:
    UserError: no backbone of four stages inside, or the numbers of heads cannot
      be told.
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


def check_released(variant: variants.Variant, source: object) -> None:
  """Raises a UserError if the released code has no model like `source`."""
  if variant.decouple:
    raise errors.UserError(
      f"{source} is a Fast SgMg, which has no released form: expected an SgMg "
      "(a training of one may start from it, by init_from)"
    )
  other = [
    f"{name} is {value!r}, expected {default!r}"
    for name in ("spectral", "patch", "refine", "decoder")
    if (value := getattr(variant, name))
    != (default := getattr(_DEFAULTS, name))
  ]
  if other:
    raise errors.UserError(f"{source} has no released form: {'; '.join(other)}")


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
