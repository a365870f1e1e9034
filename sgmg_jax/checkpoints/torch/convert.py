"""Convert published weights to parameters of this model.

Kinds of sources:

  sgmg           a released SgMg checkpoint: the whole model
  kinetics       Video Swin trained on Kinetics: the backbone
  swin           Swin trained on images, by Microsoft's or timm's names: the
                 backbone of `swin_…`, each frame alone
  inflated_swin  the same inflated over time: the backbone of `video_swin_…`
  resnet         ResNet-50 or -101 by torchvision's or timm's names: the
                 backbone of `resnet…`
  roberta        a Hugging Face RoBERTa folder: the text encoder

Inflation follows Carreira and Zisserman, 2017, section 2, as Video Swin (Liu
et al., 2022, section 3.3) does.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax import errors
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import expected_shapes, stored_dtype
from sgmg_jax.checkpoints.torch import files, names
from sgmg_jax.checkpoints.torch import sizes as sizes_lib
from sgmg_jax.files import json_object
from sgmg_jax.model import variants, window_attention

StateDict = Mapping[str, np.ndarray]

KINDS = tuple(card_lib.LICENCES)

_TEXT = "text_encoder.text_backbone."
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True)
class Converted:
  """Parameters (at their place in the model's tree, also those of a part),
  their card, and what people should know about the conversion."""

  params: dict[str, Any]
  card: dict[str, Any]
  notes: tuple[str, ...] = ()


def read(
  source: pathlib.Path, kind: str = "auto", *, name: str, **sizes: int
) -> Converted:
  """Convert a file or folder of one of `KINDS`.

  Args:
    source: weight file, or RoBERTa folder.
    kind: one of `KINDS`, or "auto" to tell from the content.
    name: for the card.
    **sizes: `Variant` fields that the shapes of a whole model do not tell.

  Raises:
    UserError: not readable, of no known kind, or entries missing, unexpected,
      mis-shaped, NaN or infinite (lists every one).
  """
  source = pathlib.Path(source)
  notes = ()
  if source.is_dir():
    if kind not in ("auto", "roberta"):
      raise errors.UserError(f"{source} is a folder, expected a {kind} file")
    kind, weights = "roberta", _roberta_weights(source)
  else:
    weights = source
  state_dict = files.read(weights).state_dict
  if kind == "auto":
    kind = tell_kind(state_dict, source)
  if kind == "sgmg":
    part, (params, variant) = None, from_sgmg(state_dict, source, **sizes)
  elif kind == "roberta":
    if not source.is_dir():
      raise errors.UserError(f"{source} is a file, expected a RoBERTa folder")
    part = "text_encoder"
    params, variant, notes = from_roberta(
      state_dict, json_object.read(source / "config.json"), source
    )
  else:
    part = "backbone"
    params, variant, *notes = _BACKBONES[kind](state_dict, source)
  stored_dtype.check(params, source, names.torch_key)
  for module in reversed(expected_shapes.PATHS.get(part, ())):
    params = {module: params}
  card = card_lib.make(
    variant,
    name=name,
    part=part,
    source={
      "kind": kind,
      "file": weights.name,
      "sha256": files.sha256(weights),
    },
    licence=card_lib.LICENCES[kind],
  )
  return Converted(params, card, notes)


def tell_kind(state_dict: StateDict, source: object = "state dict") -> str:
  """Tell which of `KINDS` a state dict is, from its names and shapes."""
  if any(key.startswith(_TEXT) for key in state_dict):
    return "sgmg"
  if any(
    key.removeprefix("roberta.") == "embeddings.word_embeddings.weight"
    for key in state_dict
  ):
    return "roberta"
  for key in ("backbone.patch_embed.proj.weight", "patch_embed.proj.weight"):
    if key in state_dict:
      return "swin" if state_dict[key].ndim == 4 else "kinetics"
  if "conv1.weight" in state_dict and "layer1.0.conv1.weight" in state_dict:
    return "resnet"
  raise errors.UserError(
    f"{source} holds none of {', '.join(KINDS)}; its first entries are "
    f"{', '.join(list(state_dict)[:3])}"
  )


def from_sgmg(
  state_dict: StateDict, source: object = "state dict", **sizes: int
) -> tuple[dict, variants.Variant]:
  """Parameters and variant of a released SgMg state dict."""
  variant = sizes_lib.model_variant(state_dict, **sizes)
  _check_window(state_dict, source)
  params = names.from_torch(
    state_dict, expected_shapes.model(variant), source=str(source)
  )
  return params, variant


def from_kinetics(
  state_dict: StateDict, source: object = "state dict"
) -> tuple[dict, variants.Variant]:
  """Backbone parameters and variant of a Video Swin classifier.

  Its patches are two frames deep; summed over time, the kernel gives on one
  frame what it gave on two equal ones.
  """
  body = {}
  for key, array in state_dict.items():
    key = key.removeprefix("backbone.")
    if key.startswith(("cls_head.", "norm.")):
      continue
    if key == "patch_embed.proj.weight" and array.ndim == 5:
      array = array.sum(axis=2, keepdims=True, dtype=array.dtype)
    body[_merging(key)] = array
  _check_window(body, source)
  return _backbone(body, source)


def from_swin(
  state_dict: StateDict, source: object = "state dict"
) -> tuple[Any, ...]:
  """Backbone parameters, variant and notes of an image Swin, as it is.

  The norms of the stages' outputs, which classifiers do not have, start as
  new ones.
  """
  body = _swin_body(state_dict)
  notes = ()
  if "norm0.weight" not in body:
    notes = ("the source has no norms of the stages: initialised as new ones",)
    for i in range(4):
      channels = len(body.get(f"layers.{i}.blocks.0.norm1.bias", ()))
      body[f"norm{i}.weight"] = np.ones(channels, np.float32)
      body[f"norm{i}.bias"] = np.zeros(channels, np.float32)
  _check_window(body, source)
  return *_backbone(body, source), *notes


def from_inflated_swin(
  state_dict: StateDict, source: object = "state dict"
) -> tuple[dict, variants.Variant]:
  """Backbone parameters and variant of an image Swin, inflated over time."""
  body = _swin_body(state_dict)
  for key, array in body.items():
    if key == "patch_embed.proj.weight" and array.ndim == 4:
      body[key] = inflate_patches(array, depth=1)
    if key.endswith(".relative_position_bias_table") and array.ndim == 2:
      body[key] = inflate_position_table(array)
  return _backbone(body, source)


def from_resnet(
  state_dict: StateDict, source: object = "state dict"
) -> tuple[dict, variants.Variant]:
  """Backbone parameters and variant of an ImageNet ResNet of bottlenecks."""
  body = {k: v for k, v in state_dict.items() if not k.startswith("fc.")}
  return _backbone(body, source)


def from_roberta(
  state_dict: StateDict, config: Mapping[str, Any], source: object = "folder"
) -> tuple[dict, variants.Variant, tuple[str, ...]]:
  """Text encoder parameters, variant and notes of a RoBERTa state dict.

  A masked language model, such as the safetensors file of roberta-base, has
  no pooler. It then gets the weights that Hugging Face gives a new one,
  normal with `initializer_range` and zero biases (seed 0), and a note.

  Args:
    state_dict: names with or without the `roberta.` prefix.
    config: the folder's config.json.
    source: what to call it in an error.
  """
  variant = _roberta_variant(config, source)
  body = {
    key.removeprefix("roberta."): array
    for key, array in state_dict.items()
    if not key.startswith("lm_head.")
  }
  notes = ()
  if not any(key.startswith("pooler.") for key in body):
    width, scale = variant.text_width, config.get("initializer_range", 0.02)
    if type(scale) not in (int, float) or not 0 <= scale <= 1:
      raise errors.UserError(
        f"config of {source}: initializer_range is {scale!r}, expected a "
        "number from 0 to 1"
      )
    normal = np.random.default_rng(0).normal(0, scale, (width, width))
    body["pooler.dense.weight"] = normal.astype(np.float32)
    body["pooler.dense.bias"] = np.zeros(width, np.float32)
    notes = ("the source has no pooler: initialised as a new one",)
  params = names.from_torch(
    body, expected_shapes.part("text_encoder", variant), source=str(source)
  )
  return params, variant, notes


def inflate_patches(kernel: np.ndarray, depth: int) -> np.ndarray:
  """(O, I, h, w) -> (O, I, depth, h, w), the same answer on a still clip."""
  return np.repeat(kernel[:, :, None] / depth, depth, axis=2).astype(
    kernel.dtype
  )


def inflate_position_table(table: np.ndarray) -> np.ndarray:
  """(rows, heads) of a square window -> rows of the (8, 7, 7) window.

  Another window size is resized bicubically; every temporal distance gets
  the same spatial table.
  """
  depth, height, width = (2 * n - 1 for n in window_attention.WINDOW)
  side = round(len(table) ** 0.5)
  if side**2 != len(table):
    return table  # no square: reported as mis-shaped
  if side != height:
    resized = jax.image.resize(
      jnp.asarray(table).reshape(side, side, -1),
      (height, width, table.shape[1]),
      jax.image.ResizeMethod.CUBIC_PYTORCH,
      antialias=False,
    )
    table = np.asarray(resized).reshape(height * width, -1)
  return np.tile(table, (depth, 1))


def _backbone(body: StateDict, source: object):
  sizes = sizes_lib.backbone_sizes(body)
  variant = variants.get_variant("video_swin_t", **sizes)
  params = names.from_torch(
    body, expected_shapes.part("backbone", variant), source=str(source)
  )
  return params, variant


def _swin_body(state_dict: StateDict) -> dict[str, np.ndarray]:
  """An image Swin without its head, by the names of this model.

  New versions of timm count a merging to the stage behind it.
  """
  behind = any(key.startswith("layers.3.downsample.") for key in state_dict)
  body = {}
  for key, array in state_dict.items():
    key = key.removeprefix("backbone.")
    if key.startswith(("head.", "norm.")) or key.endswith(".attn_mask"):
      continue
    match = re.match(r"layers\.(\d+)\.downsample\.", key)
    if behind and match:
      key = f"downsamples.{int(match[1]) - 1}.{key[match.end() :]}"
    body[_merging(key)] = array
  return body


def _merging(key: str) -> str:
  return re.sub(r"^layers\.(\d+)\.downsample\.", r"downsamples.\1.", key)


def _check_window(state_dict: StateDict, source: object) -> None:
  """The index is a constant here, so the file's must be the same one."""
  wrong = []
  for key, array in state_dict.items():
    table = state_dict.get(key.replace("_index", "_bias_table"))
    if not key.endswith(".relative_position_index") or table is None:
      continue
    # The table's shape is checked with all others.
    window = window_attention.window_of_table(len(table))
    window = window or window_attention.WINDOW
    index = window_attention.relative_position_index(window)
    if not np.array_equal(array, index):
      wrong.append(f"{key} is not that of a {window} window")
  names.raise_misfits(str(source), [], [], wrong)


def _roberta_weights(folder: pathlib.Path) -> pathlib.Path:
  for name in _WEIGHTS:
    if (folder / name).is_file():
      return folder / name
  raise errors.UserError(
    f"no RoBERTa weights in {folder}: expected {' or '.join(_WEIGHTS)}"
  )


def _roberta_variant(config: Mapping, source: object) -> variants.Variant:
  constants = {
    "model_type": "roberta",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
    "position_embedding_type": "absolute",
  }
  optional = {"position_embedding_type"}
  sizes = {
    "vocab_size": "vocab_size",
    "hidden_size": "text_width",
    "num_hidden_layers": "text_layers",
    "num_attention_heads": "text_heads",
    "intermediate_size": "text_ffn",
    "max_position_embeddings": "text_positions",
    "pad_token_id": "pad_token_id",
  }
  wrong = [
    f"{key} is {config.get(key)!r}, expected {value!r}"
    for key, value in constants.items()
    if config.get(key) != value and (key in config or key not in optional)
  ]
  wrong += [
    f"{key} is {config.get(key)!r}, expected an integer"
    for key in sizes
    if type(config.get(key)) is not int
  ]
  if wrong:
    raise errors.UserError(f"config of {source}: {'; '.join(wrong)}")
  return variants.get_variant(
    "video_swin_t", **{field: config[key] for key, field in sizes.items()}
  )


_BACKBONES = {
  "kinetics": from_kinetics,
  "swin": from_swin,
  "inflated_swin": from_inflated_swin,
  "resnet": from_resnet,
}
