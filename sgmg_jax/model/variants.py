"""Sizes of every model, in one table.

`video_swin_t`, `_s` and `_b` are the released models' sizes. The backbones of
`swin_…` and `resnet…` see each frame alone, as in ReferFormer; `_w12` are the
published Swins with windows of 12 x 12. `mini` is the bundled RefShapes model;
`mu` is for tests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sgmg_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Variant:
  """Sizes of a model; the defaults are those all released models share.

  Attributes:
    backbone: one of `BACKBONES`.
    embed_dim: its channels behind the first convolution.
    depths: its blocks per stage.
    swin_heads, swin_window, drop_path: heads per stage, side of the windows
      and highest drop-path rate of a Swin; the windows of Video Swin are 7.
    width: channels C of everything behind the input projections.
    num_heads, ffn_dim, encoder_layers, decoder_layers, num_points,
      num_queries, dropout: the deformable transformer.
    vocab_size, text_width, text_layers, text_heads, text_ffn,
      text_positions, pad_token_id: RoBERTa.
    spectral: what filters maps before and after words are fused into them, see
      `feature_augmentation`: one of `SPECTRAL`.
    patch: mask labels that a query gives each token, see `patch_kernels`: one
      of `PATCHES`.
    refine: whether the segmentation optimiser corrects the labels.
    decoder: of the features that kernels are applied to, see `fpn`: one of
      `DECODERS`. Other values of these four than the defaults are the ablations
      of the paper's Tables 5, 6 and H.
    decouple: how Fast SgMg tells the expressions of a clip apart behind the
      shared encoder, one of `DECOUPLE`; empty: SgMg, each has its own.
    fusion_scale: of the sum over its expressions, one of `FUSION_SCALES`.
  """

  backbone: str = "video_swin"
  embed_dim: int = 96
  depths: tuple[int, ...] = (2, 2, 6, 2)
  swin_heads: tuple[int, ...] = (3, 6, 12, 24)
  swin_window: int = 7
  drop_path: float = 0.2
  width: int = 256
  num_heads: int = 8
  ffn_dim: int = 2048
  encoder_layers: int = 4
  decoder_layers: int = 4
  num_points: int = 4
  num_queries: int = 5
  dropout: float = 0.1
  vocab_size: int = 50265
  text_width: int = 768
  text_layers: int = 12
  text_heads: int = 12
  text_ffn: int = 3072
  text_positions: int = 514
  pad_token_id: int = 1
  spectral: str = "fft"
  patch: int = 16
  refine: bool = True
  decoder: str = "none"
  decouple: str = ""
  fusion_scale: str = "sum"

  def __post_init__(self):
    # JSON cards hold lists; equal variants must compare and hash equal.
    object.__setattr__(self, "depths", tuple(self.depths))
    object.__setattr__(self, "swin_heads", tuple(self.swin_heads))

  @property
  def channels(self) -> tuple[int, ...]:
    """Of the backbone's maps, strides 4, 8, 16 and 32."""
    wider = RESNET_EXPANSION if self.backbone == "resnet" else 1
    first = self.embed_dim * wider
    return tuple(first << stage for stage in range(_STAGES))

  @property
  def max_tokens(self) -> int:
    """Tokens of the longest sentence; positions start behind the padding's."""
    return self.text_positions - self.pad_token_id - 1


BACKBONES = ("video_swin", "swin", "resnet")
SPECTRAL = ("fft", "none", "conv", "linear")
PATCHES = (16, 1)
DECODERS = ("none", "fpn")
# By gating the encoded maps, by the first queries, or by the sentence alone.
DECOUPLE = ("", "features", "queries", "none")
FUSION_SCALES = ("sum", "rsqrt", "mean")
_CHOICES = {
  "backbone": BACKBONES,
  "spectral": SPECTRAL,
  "patch": PATCHES,
  "refine": (True, False),
  "decoder": DECODERS,
  "decouple": DECOUPLE,
  "fusion_scale": FUSION_SCALES,
}
# Channels that a bottleneck returns, for each that it computes with.
RESNET_EXPANSION = 4
# No model is larger in any size; bounds what a damaged card can ask for. Sizes
# are at least 1, those of `_FROM_ZERO` 0.
_MOST = {
  "embed_dim": 1024,
  "depths": 100,
  "swin_heads": 256,
  "swin_window": 64,
  "drop_path": 1,
  "width": 4096,
  "num_heads": 256,
  "ffn_dim": 65536,
  "encoder_layers": 100,
  "decoder_layers": 100,
  "num_points": 64,
  "num_queries": 10_000,
  "dropout": 1,
  "vocab_size": 4_000_000,
  "text_width": 8192,
  "text_layers": 100,
  "text_heads": 256,
  "text_ffn": 65536,
  "text_positions": 65536,
  "pad_token_id": 4_000_000,
}
_FROM_ZERO = {"drop_path", "dropout", "pad_token_id"}
# What checkpoints did not know once: `sizes` has them where they say something.
_LATER = {
  "backbone",
  "swin_window",
  "spectral",
  "patch",
  "refine",
  "decoder",
  "decouple",
  "fusion_scale",
}
_STAGES = 4
# Feature maps that words are fused into, of strides 8, 16, 32 and 64.
NUM_LEVELS = 4

_SWIN_T = Variant(backbone="swin")
_SWIN_B = Variant(
  backbone="swin",
  embed_dim=128,
  depths=(2, 2, 18, 2),
  swin_heads=(4, 8, 16, 32),
  drop_path=0.3,
)
_SWIN_L = dataclasses.replace(
  _SWIN_B, embed_dim=192, swin_heads=(6, 12, 24, 48)
)
_RESNET = Variant(backbone="resnet", embed_dim=64, depths=(3, 4, 6, 3))

VARIANTS = {
  "video_swin_t": Variant(),
  "video_swin_s": Variant(depths=(2, 2, 18, 2)),
  "video_swin_b": Variant(
    embed_dim=128, depths=(2, 2, 18, 2), swin_heads=(4, 8, 16, 32)
  ),
  "swin_t": _SWIN_T,
  "swin_s": dataclasses.replace(_SWIN_T, depths=(2, 2, 18, 2)),
  "swin_b": _SWIN_B,
  "swin_b_w12": dataclasses.replace(_SWIN_B, swin_window=12),
  "swin_l": _SWIN_L,
  "swin_l_w12": dataclasses.replace(_SWIN_L, swin_window=12),
  "resnet50": _RESNET,
  "resnet101": dataclasses.replace(_RESNET, depths=(3, 4, 23, 3)),
  "mini": Variant(
    embed_dim=32,
    depths=(2, 2, 4, 1),
    swin_heads=(4, 8, 8, 8),
    drop_path=0.0,
    width=64,
    num_heads=4,
    ffn_dim=256,
    encoder_layers=2,
    decoder_layers=2,
    num_points=2,
    num_queries=1,
    dropout=0.0,
    vocab_size=768,
    text_width=96,
    text_layers=2,
    text_heads=4,
    text_ffn=192,
    text_positions=40,
  ),
  "mu": Variant(
    embed_dim=24,
    depths=(1, 1, 2, 1),
    swin_heads=(2, 3, 4, 6),
    width=64,
    ffn_dim=96,
    encoder_layers=2,
    decoder_layers=3,
    vocab_size=120,
    text_width=48,
    text_layers=2,
    text_heads=4,
    text_ffn=96,
    text_positions=40,
  ),
}


def get_variant(name: str, **overrides) -> Variant:
  """The named variant, with single sizes replaced.

  Raises:
    UserError: unknown name or size, or a value of the wrong type or range.
  """
  if name not in VARIANTS:
    known = ", ".join(VARIANTS)
    raise UserError(f"unknown model variant {name!r}; known: {known}")
  return replace(VARIANTS[name], overrides, "model")


def sizes(variant: Variant) -> dict[str, Any]:
  """All sizes by name, without those at their default that came later."""
  defaults = dataclasses.asdict(Variant())
  return {
    name: value
    for name, value in dataclasses.asdict(variant).items()
    if name not in _LATER or value != defaults[name]
  }


def describe(variant: Variant) -> dict[str, Any]:
  """Arguments of `get_variant` that give it: a name, and what differs."""
  known = [name for name, other in VARIANTS.items() if other == variant]
  name = known[0] if known else "video_swin_t"
  sizes, other = map(dataclasses.asdict, (variant, VARIANTS[name]))
  return {"name": name} | {k: v for k, v in sizes.items() if v != other[k]}


def replace(
  variant: Variant, sizes: Mapping[str, Any], where: object
) -> Variant:
  """`variant` with some sizes replaced; `where` they are from, for messages.

  Raises:
    UserError: unknown size, or a value of the wrong type or range.
  """
  defaults = dataclasses.asdict(variant)
  for name, value in sizes.items():
    if name not in defaults:
      raise UserError(
        f"{where}: unknown size {name!r}; known: {', '.join(defaults)}"
      )
    if not _is_like(value, defaults[name]):
      raise UserError(
        f"{where}: size {name} is {value!r}, expected a value like "
        f"{defaults[name]!r}"
      )
    _check_range(name, value, where)
  new = dataclasses.replace(variant, **sizes)
  _check_together(new, where)
  return new


def _check_together(variant: Variant, where: object) -> None:
  """Raise a UserError unless channels can be split into heads and groups, and
  the backbone has such windows."""
  pairs = [
    ("width", variant.width, "num_heads", variant.num_heads),
    ("width", variant.width, "the groups of its norm", 32),
    ("text_width", variant.text_width, "text_heads", variant.text_heads),
  ]
  if variant.backbone == "video_swin" and variant.swin_window != 7:
    raise UserError(
      f"{where}: size swin_window is {variant.swin_window}, expected 7 of "
      "backbone video_swin"
    )
  if variant.decoder == "fpn" and variant.patch != 1:
    raise UserError(
      f"{where}: size patch is {variant.patch}, expected 1 with decoder fpn, "
      "whose map is fine as it is"
    )
  for stage, heads in enumerate(variant.swin_heads):
    if variant.backbone == "resnet":
      break
    channels = variant.embed_dim << stage
    pairs.append((f"embed_dim * {1 << stage}", channels, "swin_heads", heads))
  for name, channels, heads_name, heads in pairs:
    if channels % heads:
      raise UserError(
        f"{where}: size {name} is {channels}, expected a multiple of "
        f"{heads_name}, {heads}"
      )


def _check_range(name: str, value: Any, where: object) -> None:
  if name in _CHOICES:
    if value not in _CHOICES[name]:
      known = ", ".join('""' if c == "" else str(c) for c in _CHOICES[name])
      raise UserError(f"{where}: {name} is {value!r}, expected {known}")
    return
  least, most = int(name not in _FROM_ZERO), _MOST[name]
  each = value if isinstance(value, list | tuple) else [value]
  if each is value and len(each) != _STAGES:
    raise UserError(
      f"{where}: size {name} has {len(each)} numbers, expected {_STAGES}"
    )
  if not all(least <= x <= most for x in each):
    raise UserError(
      f"{where}: size {name} is {value!r}, expected {least} to {most}"
    )


def _is_like(value: Any, default: Any) -> bool:
  if isinstance(default, str | bool):
    return isinstance(value, type(default))
  if isinstance(default, tuple):
    return isinstance(value, list | tuple) and all(
      _is_like(x, default[0]) for x in value
    )
  kinds = int | float if isinstance(default, float) else int
  return isinstance(value, kinds) and not isinstance(value, bool)
