"""The whole model against the released implementation's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import types
from sgmg_jax.checkpoints.torch import names
from sgmg_jax.losses import criterion, means
from sgmg_jax.model import layers as layers_lib
from sgmg_jax.training import forward


def close_masks(golden, actual, expected):
  """Mask logits, with no sign flipped but where it is uncertain."""
  golden.close(actual, expected, what="masks")
  certain = np.abs(expected) > 1e-3 * expected.std()
  assert np.array_equal(actual[certain] > 0, expected[certain] > 0)


def stored_masks(masks, data):
  """(ours, theirs): mask logits, stored whole or every second pixel."""
  if "out/pred_masks" in data:
    return masks, data["out/pred_masks"]
  return masks[..., ::2, ::2], data["out/pred_masks_every2"]


@pytest.mark.parametrize("case", ["video", "batch"])
def test_evaluation_and_its_stages(
  golden, either_model, pad, channels_first, case
):
  data = golden.load(f"sgmg_eval_{case}")
  clips = [data[name] for name in sorted(data) if name.startswith("frames")]
  if "size" in data:
    expected = data["size"].tolist()
    assert all(list(clip.shape[2:]) == expected for clip in clips)
  inputs = pad(clips, 16)
  tokens, valid = data["input_ids"], data["attention_mask"] > 0
  video = either_model("encode_video", *inputs)
  text = either_model("encode_text", tokens, valid)
  fused = either_model("fuse", video, text)
  decoded = either_model("transform", fused, video, text)
  masks, query = either_model("segment", decoded, video)

  maps = {"fused": fused, "memory": decoded.memory}
  maps["backbone"] = either_model(
    lambda module, frames: module.backbone_0(frames), inputs[0]
  )
  maps["pos"] = [
    layers_lib.pixel_positions(valid, 64).repeat(len(clips[0]), 0)
    for valid in video.level_valid
  ]
  maps["patch_masks_in"] = [either_model("patch_masks", decoded, video)]
  chosen = lambda x: np.asarray(types.take_query(x, query, axis=2))
  patches = chosen(maps.pop("patch_masks_in")[0])
  for name, levels in maps.items():
    for i, level in enumerate(levels):
      if (stage := f"stage/{name}{i}") in data:
        # Some stages are stored for the first frame only.
        kept = channels_first(level)[: len(data[stage])]
        golden.close(kept, data[stage], what=stage)
  for i, valid_map in enumerate(video.level_valid):
    per_frame = np.repeat(valid_map, len(clips[0]), 0)
    assert np.array_equal(~per_frame, data[f"stage/mask{i}"])
  golden.close(channels_first(patches), data["stage/patch_masks_in"])
  golden.close(text.words, data["stage/text_words"])
  golden.close(text.sentence, data["stage/sentence_btqc"][:, 0, 0])
  flat = lambda x: np.asarray(x).reshape(*x.shape[:-4], -1, *x.shape[-2:])
  golden.close(flat(decoded.hidden), data["stage/hs"])
  golden.close(flat(decoded.init_reference), data["stage/init_reference"])
  golden.close(flat(decoded.references), data["stage/inter_references"])

  assert query.tolist() == ([1] if case == "video" else [1, 3])
  outputs = {
    "pred_logits": chosen(decoded.logits[-1])[:, :, None, None],
    "pred_boxes": chosen(decoded.boxes[-1])[:, :, None],
    "reference_points": chosen(decoded.references[-2])[:, :, None, :2],
    "pred_masks": np.asarray(masks)[:, :, None],
  }
  for name, value in outputs.items():
    if name != "pred_masks":
      golden.close(value, data[f"out/{name}"], what=name)
  close_masks(golden, *stored_masks(outputs["pred_masks"], data))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "tpu"], indirect=True)
def test_evaluation_on_accelerators(golden, small_model, pad, platform):
  """Their forms, Pallas kernels among them, in one program of all steps."""
  data = golden.load("sgmg_eval_batch")
  inputs = pad([data["frames0"], data["frames1"]], 16)
  tokens, valid = data["input_ids"], data["attention_mask"] > 0
  (masks, query), decoded = small_model("__call__", *inputs, tokens, valid)
  assert query.tolist() == [1, 3]
  flat = lambda x: np.asarray(x).reshape(*x.shape[:-4], -1, *x.shape[-2:])
  golden.close(flat(decoded.hidden), data["stage/hs"])
  golden.close(flat(decoded.references), data["stage/inter_references"])
  masks = np.asarray(masks)[:, :, None]
  close_masks(golden, *stored_masks(masks, data))


def test_annotated_frame(golden, small_model, pad):
  """The backbone sees the clip, one frame goes on, every query is refined."""
  data = golden.load("sgmg_eval_all_queries")
  frames, valid, size = pad([data["frames0"], data["frames1"]], 16)
  tokens = data["input_ids"]

  def run(module, frames, tokens, token_valid):
    stages = module.backbone_0(frames)
    annotated = jnp.asarray(data["valid_indices"])
    stages = [types.take_query(x, annotated, axis=1)[:, None] for x in stages]
    video = module.project(stages, valid, size, 1)
    text = module.encode_text(tokens, token_valid)
    decoded = module.transform(module.fuse(video, text), video, text)
    patches = module.patch_masks(decoded, video)
    masks = [module.refine(patches[:, :, q], video) for q in range(5)]
    return decoded.logits[-1], decoded.boxes[-1], jnp.stack(masks, 2)

  logits, boxes, masks = small_model(run, frames, tokens, tokens != 1)
  golden.close(logits[..., None], data["out/pred_logits"])
  golden.close(boxes, data["out/pred_boxes"])
  close_masks(golden, *stored_masks(np.asarray(masks), data))


def training_batch(data, pad, dtype):
  frames, pixel_valid, size = pad([data["frames0"], data["frames1"]], 32)
  masks = np.zeros((2, 3, *frames.shape[2:4]), bool)
  for i, (h, w) in enumerate(size.tolist()):
    masks[i, :, :h, :w] = data[f"target{i}/masks"] > 0
  targets = types.Targets(
    boxes=jnp.stack(
      [data["target0/boxes"], data["target1/boxes"]], dtype=dtype
    ),
    masks=jnp.asarray(masks),
    valid=jnp.stack([data["target0/valid"], data["target1/valid"]]) > 0,
  )
  return types.Batch(
    frames=frames.astype(dtype),
    pixel_valid=pixel_valid,
    size=size,
    tokens=jnp.asarray(data["input_ids"]),
    token_valid=jnp.asarray(data["attention_mask"] > 0),
    targets=targets,
  )


def check_training(golden, pad, **sizes):
  """`training.forward` without chance, in float64: in float32, noise decides
  on which side of a ReLU's kink some units fall, and moves the gradients."""
  data = golden.load("sgmg_train")
  with jax.enable_x64(True):
    model, params = golden.small_model(
      jnp.float64, dropout=0.0, drop_path=0.0, **sizes
    )
    batch = training_batch(data, pad, jnp.float64)
    rngs = {name: jax.random.key(0) for name in ("dropout", "drop_path")}

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def step(params):
      losses, _, layers = forward.losses(model, params, batch, rngs)
      losses = means.values(losses)
      return criterion.total(losses), (losses, layers)

    (total, (losses, layers)), gradients = step(params)
  assert total.dtype == jnp.float64
  last = jax.tree.map(lambda x: x[-1], layers)
  outputs = {
    "logits": last.preds.logits,
    "boxes": last.preds.boxes,
    "masks": last.masks,
    "masks_low": types.take_query(last.preds.masks_low, last.query, axis=2),
  }
  for name, value in outputs.items():
    expected = data[f"out/pred_{name}"]
    golden.close(np.reshape(value, expected.shape), expected, what=name)
  queries = [*data["matched_query_aux"], data["matched_query"]]
  costs = [*data["cost_aux"], data["cost_last"]]
  assert np.array_equal(layers.query, queries)
  golden.close(layers.cost, np.stack(costs), what="cost")
  expected_losses = {
    key.removeprefix("loss/"): value
    for key, value in data.items()
    if key.startswith("loss/")
  }
  assert losses.keys() == expected_losses.keys()
  for name, expected in expected_losses.items():
    assert losses[name] == pytest.approx(expected, rel=1e-6), name
    weight = data[f"weight/{name}"]
    assert criterion.weight(name) == pytest.approx(weight), name
  assert total == pytest.approx(data["total"], rel=1e-6)
  gradients = {k: v for k, v in gradients.items() if k != "decouple_module"}
  check_gradients(names.to_torch(gradients), data)


def check_gradients(gradients, data):
  compared = 0
  for key, expected in data.items():
    kind, _, name = key.partition("/")
    if kind not in ("grad", "grad_norm"):
      continue
    gradient = np.asarray(gradients[name], np.float64)
    if kind == "grad":
      error = np.abs(gradient - expected).max() / np.abs(expected).max()
    else:
      error = abs(np.linalg.norm(gradient) / expected - 1)
    assert error <= 1e-4, f"{key}: {error:.1e}"
    compared += 1
  assert compared > 500


def test_training(golden, pad):
  check_training(golden, pad)


@pytest.mark.slow
def test_training_of_a_single_expression_by_fast_sgmg(golden, pad):
  check_training(golden, pad, decouple="features")


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "tpu"], indirect=True)
def test_training_on_accelerators(golden, pad, platform):
  check_training(golden, pad)


@pytest.mark.slow
def test_real_size_video_swin_t(golden, real_model, pad):
  """The tiny model at 4 frames of 200 x 320."""
  data = golden.load("full_video_swin_t")
  shape = (int(data["num_frames"]), 3, *data["size"])
  clip = np.random.RandomState(1234).standard_normal(shape)
  frames, valid, size = pad([clip.astype(np.float32)], 16)
  model, params = real_model("video_swin_t")
  tokens = jnp.asarray(data["input_ids"])
  run = jax.jit(lambda params, *args: model.apply({"params": params}, *args))
  (masks, query), decoded = run(
    params, frames, valid, size, tokens, tokens != 1
  )
  assert query.tolist() == [4]
  chosen = lambda x: np.asarray(types.take_query(x, query, axis=2))
  golden.close(
    chosen(decoded.logits[-1])[:, :, None, None], data["pred_logits"]
  )
  golden.close(chosen(decoded.boxes[-1])[:, :, None], data["pred_boxes"])
  references = chosen(decoded.references[-2])[:, :, None, :2]
  golden.close(references, data["reference_points"])
  expected = golden.load("full_video_swin_t_masks_every3")["pred_masks_every3"]
  masks = np.asarray(masks)[:, :, None]
  close_masks(golden, masks[..., ::3, ::3], expected)
  # Every third pixel meets all sixteen channels of the shuffle, so that errors
  # of it show, and in its signs alone.
  for wrong in (transpose_patches(masks), -masks):
    with pytest.raises(AssertionError, match="masks"):
      close_masks(golden, wrong[..., ::3, ::3], expected)
    flipped = (wrong[..., ::3, ::3] > 0) != (expected > 0)
    assert flipped.mean() > 0.1


def transpose_patches(masks):
  """What a shuffle with rows and columns of the patches swapped gives."""
  *lead, h, w = masks.shape
  patches = masks.reshape(*lead, h // 4, 4, w // 4, 4)
  return patches.swapaxes(-3, -1).reshape(masks.shape)
