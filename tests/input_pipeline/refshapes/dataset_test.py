"""Whole clips: reproducible, disjoint between splits, masks as drawn."""

import dataclasses

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.ops import boxes as boxes_lib
from sgmg_jax.input_pipeline.refshapes import dataset, render, shapes

SMALL = {"num_frames": 4, "height": 64, "width": 64}


def _clips(split="val", count=12, **size):
  return [dataset.generate_clip(split, i, **size) for i in range(count)]


def test_clip_depends_on_split_and_index_only():
  first = dataset.generate_clip("train", 7, **SMALL)
  dataset.generate_clip("val", 3, **SMALL)
  again = dataset.generate_clip("train", 7, **SMALL)
  assert first.name == again.name == "train_000007"
  np.testing.assert_array_equal(first.frames, again.frames)
  np.testing.assert_array_equal(first.masks, again.masks)
  assert first.expressions == again.expressions


def test_scene_is_the_same_at_other_frame_counts_and_sizes():
  short = dataset.generate_clip("train", 5, num_frames=3, height=64, width=96)
  long = dataset.generate_clip("train", 5, num_frames=9, height=128, width=192)
  assert short.scene == long.scene
  # The instants of three frames are among those of nine.
  np.testing.assert_allclose(
    short.facts.centres, long.facts.centres[:, [0, 4, 8]], atol=1e-12
  )


def test_500_clips_differ_within_and_between_splits():
  seen = set()
  for split, count in (("train", 300), ("val", 100), ("test", 100)):
    for index in range(count):
      clip = dataset.generate_clip(
        split, index, num_frames=1, height=32, width=32
      )
      seen.add(clip.frames.tobytes())
  assert len(seen) == 500


@pytest.mark.parametrize("size", [(1, 33, 70), (5, 120, 48)])
def test_any_size(size):
  num_frames, height, width = size
  clip = dataset.generate_clip(
    "test", 1, num_frames=num_frames, height=height, width=width
  )
  assert clip.frames.shape == (num_frames, height, width, 3)
  assert clip.frames.dtype == np.uint8
  assert clip.masks.shape == (len(clip.scene.bodies), *size)
  assert clip.boxes.shape == clip.masks.shape[:2] + (4,)


def test_single_frame_has_no_sentences_about_motion_or_order():
  kinds = {
    e.kind
    for clip in _clips(count=20, num_frames=1, height=64, width=64)
    for e in clip.expressions
    if not any(p.name == "stays" for p in e.meaning)
  }
  assert kinds == {"appearance", "size", "place", "relation"}


def test_masks_are_disjoint_and_nearest_object_wins():
  for clip in _clips(**SMALL):
    assert clip.masks.sum(0).max() <= 1
    drawn = render.render(clip.scene, **SMALL)
    hidden = np.zeros(clip.masks.shape[1:], bool)
    for i in reversed(clip.scene.depth):
      np.testing.assert_array_equal(clip.masks[i], drawn.outlines[i] & ~hidden)
      hidden |= drawn.outlines[i]


def test_mask_is_where_repainting_an_object_changes_the_picture():
  for clip in _clips(count=6, num_frames=3, height=96, width=96):
    for i, body in enumerate(clip.scene.bodies):
      # A glaring green, far from every colour that occurs.
      glaring = (0.0, 255.0, 0.0)
      repainted = dataclasses.replace(body, rgb=glaring, accent=glaring)
      bodies = list(clip.scene.bodies)
      bodies[i] = repainted
      scene = dataclasses.replace(clip.scene, bodies=tuple(bodies))
      other = render.render(scene, num_frames=3, height=96, width=96)
      change = np.abs(other.frames.astype(int) - clip.frames).max(-1)
      # Half-covered pixels at edges may go either way: look one pixel inside
      # and one pixel outside, where only a fine tip may still show.
      inside, outside = _eroded(clip.masks[i]), ~_dilated(clip.masks[i])
      assert (change[inside] > 20).all()
      assert (change[outside] > 0).mean() < 0.001


def test_outlines_have_the_area_of_their_radius():
  for clip in _clips(count=10, num_frames=3, height=160, width=160):
    drawn = render.render(clip.scene, num_frames=3, height=160, width=160)
    for i, body in enumerate(clip.scene.bodies):
      radii = body.radius * 160 * body.motion.scales(np.linspace(0, 1, 3))
      areas = drawn.outlines[i].sum((1, 2))
      # None larger; about equal where the frame does not cut it.
      assert (areas < 1.03 * shapes.AREA * radii**2 + 3).all()
      edges = drawn.outlines[i][:, [0, -1], :].any((1, 2))
      edges |= drawn.outlines[i][:, :, [0, -1]].any((1, 2))
      inside = ~edges & (areas > 0)
      np.testing.assert_allclose(
        areas[inside], (shapes.AREA * radii**2)[inside], rtol=0.04
      )


def _shifted(mask):
  padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)), mode="edge")
  height, width = mask.shape[1:]
  return [
    padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)
  ]


def _eroded(mask):
  return np.logical_and.reduce(_shifted(mask))


def _dilated(mask):
  return np.logical_or.reduce(_shifted(mask))


def test_boxes_end_on_the_last_occupied_pixel():
  masks = np.zeros((2, 1, 10, 12), bool)
  masks[0, 0, 3:6, 2:9] = True
  boxes = boxes_lib.from_masks(masks)
  assert boxes.dtype == np.float32
  np.testing.assert_array_equal(boxes[0, 0], [2, 3, 8, 5])
  np.testing.assert_array_equal(boxes[1, 0], [0, 0, 0, 0])


def test_boxes_match_masks():
  for clip in _clips(count=5, **SMALL):
    for mask, box in zip(
      clip.masks.reshape(-1, 64, 64), clip.boxes.reshape(-1, 4)
    ):
      rows, columns = np.nonzero(mask)
      expected = (
        (columns.min(), rows.min(), columns.max(), rows.max())
        if rows.size
        else (0, 0, 0, 0)
      )
      np.testing.assert_array_equal(box, expected)


def test_swapped_sentences_are_about_another_object():
  clips = _clips(count=20, **SMALL)
  same_kind = total = 0
  for clip in clips:
    swapped = dataset.swapped_expressions(clip.expressions)
    assert len(swapped) == len(clip.expressions)
    described = {e.object_index for e in clip.expressions}
    for own, j in zip(clip.expressions, swapped):
      if len(described) < 2:
        assert j is None
        continue
      assert clip.expressions[j].object_index != own.object_index
      same_kind += clip.expressions[j].kind == own.kind
      total += 1
  assert same_kind / total > 0.5
  assert dataset.swapped_expressions([]) == []


def test_bad_arguments_name_what_was_expected():
  with pytest.raises(errors.UserError, match="split 'dev'.*train"):
    dataset.generate_clip("dev", 0)
  with pytest.raises(errors.UserError, match="index -1"):
    dataset.generate_clip("train", -1)
  with pytest.raises(errors.UserError, match="at least 1 frame"):
    dataset.generate_clip("train", 0, num_frames=0)
  with pytest.raises(errors.UserError, match="32 pixels"):
    dataset.generate_clip("train", 0, height=31)
