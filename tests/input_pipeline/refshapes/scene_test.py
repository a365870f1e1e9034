"""Scenes: variety, motion that shows, and outlines of one size."""

import collections

import numpy as np
import pytest

from sgmg_jax.input_pipeline.refshapes import scene as scene_lib
from sgmg_jax.input_pipeline.refshapes import shapes


@pytest.fixture(scope="module")
def scenes():
  return [
    scene_lib.sample_scene(np.random.default_rng(i), height=160, width=200)
    for i in range(250)
  ]


def test_all_looks_and_counts_occur(scenes):
  bodies = [b for s in scenes for b in s.bodies]
  assert {len(s.bodies) for s in scenes} == {2, 3, 4, 5, 6}
  assert {b.shape for b in bodies} == set(scene_lib.SHAPES)
  assert {b.colour for b in bodies} == set(scene_lib.COLOURS)
  assert {b.texture for b in bodies} == set(scene_lib.TEXTURES)
  assert {b.size for b in bodies} == set(scene_lib.SIZES)
  paths = collections.Counter(b.motion.path for b in bodies)
  for path in ("still", "line", "curve", "circle", "bounce", "shuttle"):
    assert paths[path] > 0.02 * len(bodies), path
  assert any(b.motion.spin for b in bodies)
  assert any(b.motion.scale[0] < b.motion.scale[1] for b in bodies)
  assert any(b.motion.scale[0] > b.motion.scale[1] for b in bodies)


@pytest.mark.parametrize("table", ["ACTS", "NUM_OBJECTS"])
def test_odds_sum_to_one(table):
  assert sum(getattr(scene_lib, table).values()) == pytest.approx(1.0)


def test_distractors_share_colour_or_shape(scenes):
  def shared(name):
    return np.mean(
      [
        len({getattr(b, name) for b in s.bodies}) < len(s.bodies)
        for s in scenes
      ]
    )

  assert shared("colour") > 0.5
  assert shared("shape") > 0.5


def test_colour_keeps_its_hue_and_accent_keeps_apart(scenes):
  for scene in scenes:
    for body in scene.bodies:
      distance = {
        name: np.abs(np.array(rgb) - body.rgb).sum()
        for name, rgb in scene_lib.COLOURS.items()
      }
      assert min(distance, key=distance.get) == body.colour
      assert np.abs(np.subtract(body.rgb, body.accent)).max() > 60


def test_linear_movers_cover_a_good_part_of_the_frame(scenes):
  times = np.linspace(0, 1, 60)
  for scene in scenes:
    extent = np.array([scene.width, scene.height])
    for body in scene.bodies:
      if body.motion.path != "line":
        continue
      track = body.motion.centres(times)
      inside = ((track > 0) & (track < extent)).all(1)
      covered = np.ptp((track / extent)[inside], axis=0)
      assert 0.18 < covered.max() < 0.9


def test_paths_stay_inside_unless_they_cross_the_border(scenes):
  times = np.linspace(0, 1, 11)
  crossing = 0
  for scene in scenes:
    extent = np.array([scene.width, scene.height])
    for body in scene.bodies:
      track = body.motion.centres(times)
      if ((track > 0) & (track < extent)).all():
        continue
      crossing += 1
      assert body.motion.path == "line"
      # Wholly off screen at one end, inside at the other.
      out = np.maximum(-track, track - extent).max(1) > body.radius
      assert out[0] != out[-1]
  assert crossing > 100


@pytest.mark.parametrize(
  "motion,at_half,at_end",
  [
    (scene_lib.Motion("still", (0.5, 0.5)), (0.5, 0.5), (0.5, 0.5)),
    (scene_lib.Motion("line", (0.2, 0.5), (0.4, 0.2)), (0.4, 0.6), (0.6, 0.7)),
    (
      scene_lib.Motion("curve", (0.2, 0.5), (0.4, 0.0), bulge=0.1),
      (0.4, 0.6),
      (0.6, 0.5),
    ),
    (
      scene_lib.Motion("circle", (0.5, 0.5), (0.2, 0.0), bulge=np.pi),
      (0.5, 0.7),
      (0.3, 0.5),
    ),
    (
      scene_lib.Motion("shuttle", (0.2, 0.5), (0.4, 0.0)),
      (0.6, 0.5),
      (0.2, 0.5),
    ),
    (
      scene_lib.Motion("bounce", (0.2, 0.5), (0.4, 0.0), bulge=0.2),
      (0.4, 0.5),
      (0.6, 0.5),
    ),
  ],
)
def test_paths(motion, at_half, at_end):
  track = motion.centres(np.array([0.5, 1.0]))
  np.testing.assert_allclose(track, [at_half, at_end], atol=1e-12)


def test_bounce_leaves_the_ground_twice():
  motion = scene_lib.Motion("bounce", (0.2, 0.5), (0.4, 0.0), bulge=0.2)
  heights = 0.5 - motion.centres(np.array([0.25, 0.75]))[:, 1]
  np.testing.assert_allclose(heights, 0.2)


@pytest.mark.parametrize("shape", scene_lib.SHAPES)
def test_outlines_have_one_area_and_their_centroid_at_the_origin(shape):
  side = np.linspace(-1.8, 1.8, 721, dtype=np.float32)
  x, y = np.meshgrid(side, side)
  inside = shapes.coverage(shape, x, y, np.float32(200.0)) > 0.5
  pixel = (side[1] - side[0]) ** 2
  np.testing.assert_allclose(inside.sum() * pixel, shapes.AREA, rtol=0.02)
  np.testing.assert_allclose(
    [x[inside].mean(), y[inside].mean()], 0.0, atol=0.01
  )
  assert np.hypot(x, y)[inside].max() < shapes.REACH
