"""Every part of the model, in the form of every platform that has one of its
own, against the released implementation's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.model import (
  deformable_attention,
  patch_kernels,
  segmentation_optimiser,
  spectrum_augmentation,
  video_swin,
  vision_language_fusion,
)


def channels_last(x):
  return jnp.asarray(np.moveaxis(x, 1, -1))


def test_spectrum_augmentation(golden, platform):
  data = golden.load("spectrum_augmentation")
  inputs = [channels_last(data[f"case{i}/x"]) for i in range(3)]
  sizes = [x.shape[1:3] for x in inputs]
  chain = spectrum_augmentation.gaussian_maps(sizes)
  module = spectrum_augmentation.SpectrumAugmentation()
  params = golden.params("spectrum_augmentation", module, inputs[0], chain[0])
  run = jax.jit(lambda x, g: module.apply({"params": params}, x, g))
  for i, (x, size) in enumerate(zip(inputs, sizes)):
    golden.close(chain[i], data[f"case{i}/map"][0, 0], 1e-6, f"map {i}")
    fresh = spectrum_augmentation.gaussian_maps([size])[0]
    for gaussian, kind in ((chain[i], "chained"), (fresh, "fresh")):
      y = np.moveaxis(run(x, gaussian), -1, 1)
      golden.close(y, data[f"case{i}/y_{kind}_map"], what=f"{kind} {i}")


def test_vision_language_fusion(golden):
  data = golden.load("vision_language_fusion")
  visual = jnp.asarray(data["visual_thwbc"]).transpose(3, 0, 1, 2, 4)
  words, positions = (
    jnp.asarray(data[name]).transpose(1, 0, 2)
    for name in ("text_lbc", "text_pos_lbc")
  )
  valid = jnp.asarray(~data["pad_mask_bl"])
  text = types.TextFeatures(words, positions, valid, words[:, 0])
  module = vision_language_fusion.VisionLanguageFusion(
    visual.shape[-1], num_heads=8
  )
  params = golden.params("vision_language_fusion", module, visual, text)
  out = jax.jit(module.apply)({"params": params}, visual, text)
  out = out.reshape(out.shape[0], -1, out.shape[-1]).transpose(1, 0, 2)
  golden.close(out, data["out_nbc"])


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_deformable_attention_module(golden, platform, kind):
  data = golden.load("deformable_attention_module")
  shapes = [tuple(shape) for shape in data["level_shapes"].tolist()]
  module = deformable_attention.DeformableAttention(num_heads=4, num_points=4)
  args = (
    jnp.asarray(data["query"]),
    jnp.asarray(data[f"ref_{kind}"]),
    jnp.asarray(data["src"]),
    jnp.asarray(~data["pad_mask"]),
  )
  shapes_table = {
    "sampling_offsets": (128, 32),
    "attention_weights": (64, 32),
    "value_proj": (32, 32),
    "output_proj": (32, 32),
  }
  shapes_by_name = {
    f"{name}.{leaf}": shape[:dimensions]
    for name, shape in shapes_table.items()
    for leaf, dimensions in (("weight", 2), ("bias", 1))
  }
  params = golden.params(
    shapes_by_name,
    module,
    *args,
    level_shapes=shapes,
  )
  out = jax.jit(
    lambda *args: module.apply({"params": params}, *args, level_shapes=shapes)
  )(*args)
  golden.close(out, data[f"out_{kind}"])


@pytest.mark.parametrize("suffix", ["", "_odd"])
def test_segmentation_optimiser(golden, suffix):
  data = golden.load("mso")
  patches = channels_last(data["patch_logits"])
  low_levels = (
    channels_last(data[f"feat_s4{suffix}"]),
    channels_last(data["feat_s8"]),
  )
  module = segmentation_optimiser.SegmentationOptimiser()
  params = golden.params("mso", module, patches, low_levels)
  out = jax.jit(module.apply)({"params": params}, patches, low_levels)
  golden.close(np.moveaxis(out, -1, 1), data[f"out{suffix}"])
  if not suffix:
    golden.close(patch_kernels.pixel_shuffle(out)[:, None], data["mask"])


@pytest.mark.parametrize("case", "abc")
def test_video_swin(golden, channels_first, platform, case):
  data = golden.load(f"video_swin_{case}")
  frames = channels_last(data["frames"])
  clips = len(frames) // int(data.get("num_frames", len(frames) // 2))
  frames = frames.reshape(clips, -1, *frames.shape[1:])
  module = video_swin.VideoSwin(24, (2, 1, 2, 1), (2, 3, 4, 6))
  params = golden.params("video_swin", module, frames)
  stages = jax.jit(module.apply)({"params": params}, frames)
  for i, stage in enumerate(stages):
    golden.close(channels_first(stage), data[f"stage{i}"], what=f"stage {i}")
