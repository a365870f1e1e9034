"""From mask features to masks with one label a token, with and without MSO."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.checkpoints import expected_shapes
from sgmg_jax.model import (
  fpn,
  patch_kernels,
  segmentation_optimiser,
  variants,
)

SIZES = dict(
  depths=(1, 1, 1, 1), encoder_layers=1, decoder_layers=1, text_layers=1
)


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_plain_kernels_are_three_convolutions_of_each_token():
  c, stride = 6, 4
  assert patch_kernels.num_kernel_parameters(256, 1) == 2153
  assert patch_kernels.num_kernel_parameters(256) == 4416
  features = _normal(0, 1, 1, 3, 5, c)
  kernels = _normal(1, 1, 1, 2, patch_kernels.num_kernel_parameters(c, 1))
  references = jnp.array([[[[0.25, 0.5], [0.75, 0.1]]]])
  size = jnp.array([[10, 18]])
  labels = patch_kernels.apply_patch_kernels(
    [features], kernels, references, size, patch=1, stride=stride
  )
  assert labels.shape == (1, 1, 2, 3, 5, 1)
  q, y, x = 1, 2, 3
  ends = np.cumsum([8 * (c + 2), 64, 8, 8, 8])
  w0, w1, w2, b0, b1, b2 = np.split(kernels[0, 0, q], ends)
  place = references[0, 0, q] * np.array([18, 10]) - np.array(
    [stride * x + 2, stride * y + 2]
  )
  token = np.concatenate([features[0, 0, y, x], place])
  hidden = np.maximum(w0.reshape(8, c + 2) @ token + b0, 0)
  hidden = np.maximum(w1.reshape(8, 8) @ hidden + b1, 0)
  np.testing.assert_allclose(labels[0, 0, q, y, x], w2 @ hidden + b2, rtol=1e-4)


def test_labels_become_masks_of_any_size():
  patches = jnp.asarray(_normal(0, 2, 3, 4, 5, 16))
  shuffled = patch_kernels.pixel_shuffle(patches)
  same = patch_kernels.to_masks(patches, (16, 20))
  np.testing.assert_array_equal(same, shuffled)
  larger = patch_kernels.to_masks(patches, (32, 40))
  expected = jax.image.resize(shuffled, (2, 3, 32, 40), "bilinear")
  np.testing.assert_allclose(larger, expected, atol=1e-5)
  one = patch_kernels.to_masks(patches[..., :1], (32, 40))
  expected = jax.image.resize(patches[..., 0], (2, 3, 32, 40), "bilinear")
  np.testing.assert_allclose(one, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 5), (8, 10)], ids=["stride8", "stride4"])
def test_optimiser_of_one_label(size):
  module = segmentation_optimiser.SegmentationOptimiser(1)
  labels = _normal(0, 2, *size, 1)
  low_levels = _normal(1, 2, 8, 10, 3), _normal(2, 2, 4, 5, 6)
  params = module.init(jax.random.key(0), labels, low_levels)["params"]
  shapes = {k: v["kernel"].shape for k, v in params.items()}
  assert shapes["conv1_1div8"] == (3, 3, 1 + 6, 16)
  assert shapes["conv2_1div4"] == (3, 3, 16, 1)
  zeros = jax.tree.map(jnp.zeros_like, params)
  refine = lambda params: module.apply({"params": params}, labels, low_levels)
  expected = jax.image.resize(labels, (2, 8, 10, 1), "bilinear")
  np.testing.assert_allclose(refine(zeros), expected, atol=1e-5)
  assert np.abs(refine(params) - expected).max() > 0.01


def test_decoder_encodes_a_clip_once_for_its_sentences():
  c, module = 32, fpn.CrossModalFpn(4)
  memory = [_normal(i, 2, 1, n, n, c) for i, n in enumerate((8, 4, 2))]
  f4, words = _normal(4, 1, 1, 15, 16, 12), _normal(5, 2, 3, c)
  text = types.TextFeatures(
    words=words,
    word_pos=jnp.zeros_like(words),
    word_valid=jnp.asarray([[True] * 3, [True, True, False]]),
    sentence=None,
  )
  params = jax.jit(module.init)(jax.random.key(0), memory, f4, text)["params"]
  run = jax.jit(lambda *args: module.apply({"params": params}, *args))
  together = run(memory, f4, text)
  assert together.shape == (2, 1, 15, 16, c)
  for row in range(2):
    one = lambda x, row=row: x[row : row + 1]
    alone = run([one(x) for x in memory], f4, jax.tree.map(one, text))
    np.testing.assert_allclose(together[row], alone[0], atol=1e-4)
  # A word that is none does not count, every map does.
  other = text.replace(words=words.copy())
  other.words[1, 2] += 1
  np.testing.assert_allclose(run(memory, f4, other), together, atol=1e-5)
  for i in range(3):
    changed = [
      x + (i == j) * _normal(9, *x.shape) for j, x in enumerate(memory)
    ]
    assert np.abs(run(changed, f4, text) - together).max() > 0.1
  assert np.abs(run(memory, f4**2, text) - together).max() > 0.01


@pytest.mark.parametrize(
  "row, absent",
  [
    (
      dict(spectral="none", patch=1, refine=False),
      {f"input_fft{post}_{i}" for i in range(4) for post in ("", "_post")}
      | {"mask_refine"},
    ),
    (dict(patch=1, decoder="fpn"), set()),
  ],
  ids=["nothing", "fpn"],
)
def test_removed_parts_have_no_parameters(row, absent):
  whole = expected_shapes.model(variants.get_variant("mu", **SIZES))
  shapes = expected_shapes.model(variants.get_variant("mu", **SIZES, **row))
  added = {"pixel_decoder"} if "decoder" in row else set()
  assert shapes.keys() == whole.keys() - absent | added
  last = shapes["controller"]["layers_2"]["kernel"].shape
  assert last == (64, patch_kernels.num_kernel_parameters(64, 1))
