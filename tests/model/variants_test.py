"""Sizes of models: named, replaced, described, refused."""

import dataclasses
import math

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.model import variants


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_named_ones_are_models_and_describe_themselves(name):
  variant = variants.get_variant(name)
  assert variants.get_variant(**variants.describe(variant)) == variant
  other = dataclasses.replace(variant, ffn_dim=100, depths=(1, 1, 1, 1))
  assert variants.get_variant(**variants.describe(other)) == other


def test_channels_of_the_backbone():
  channels = lambda name: variants.get_variant(name).channels
  assert channels("video_swin_b") == (128, 256, 512, 1024)
  assert channels("swin_l_w12") == (192, 384, 768, 1536)
  assert channels("resnet101") == (256, 512, 1024, 2048)


def test_sizes_of_older_models_are_as_they_were():
  new = {"backbone", "swin_window"}
  switches = {"spectral", "patch", "refine", "decoder"}
  later = new | switches
  assert not later & variants.sizes(variants.get_variant("mini")).keys()
  assert new < variants.sizes(variants.get_variant("swin_b_w12")).keys()
  ablated = variants.get_variant(
    "mini", spectral="none", patch=1, refine=False, decoder="fpn"
  )
  assert later & variants.sizes(ablated).keys() == switches
  # No heads to split channels into.
  variants.get_variant("resnet50", embed_dim=20)


def test_longest_sentence():
  assert variants.get_variant("video_swin_t").max_tokens == 512
  assert variants.get_variant("mini").max_tokens == 38


@pytest.mark.parametrize(
  "sizes, message",
  [
    (dict(wings=2), "model: unknown size 'wings'; known: backbone, .*width"),
    (dict(width=64.0), "size width is 64.0, expected a value like 64"),
    (dict(width=True), "size width is True, expected a value like 64"),
    (dict(depths=("a",) * 4), r"size depths is \('a', .*expected a value like"),
    (dict(depths=(1, 2)), "size depths has 2 numbers, expected 4"),
    (dict(width=-64), "size width is -64, expected 1 to"),
    (dict(num_heads=0), "size num_heads is 0, expected 1 to"),
    (dict(dropout=math.nan), "size dropout is nan, expected 0 to"),
    (dict(num_heads=3), "width is 64, expected a multiple of num_heads, 3"),
    (dict(width=80), "width is 80, expected a multiple of the groups .* 32"),
    (dict(swin_heads=(4, 7, 8, 8)), "2 is 64, .* multiple of swin_heads, 7"),
    (dict(backbone="vit"), "backbone is 'vit', expected video_swin, swin, re"),
    (
      dict(backbone=1),
      "size backbone is 1, expected a value like 'video_swin'",
    ),
    (dict(swin_window=12), "swin_window is 12, expected 7 of .* video_swin"),
    (dict(spectral="dct"), "spectral is 'dct', expected fft, none, conv, lin"),
    (dict(patch=4), "patch is 4, expected 16, 1"),
    (dict(refine=1), "size refine is 1, expected a value like True"),
    (dict(decoder="fpn"), "patch is 16, expected 1 with decoder fpn"),
    (dict(text_heads=5), "text_width is 96, .* multiple of text_heads, 5"),
  ],
)
def test_no_model_of_such_sizes(sizes, message):
  with pytest.raises(UserError, match=message):
    variants.get_variant("mini", **sizes)
