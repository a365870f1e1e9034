"""Labels of hand-made scenes: which object a cell shows, where it moves."""

import numpy as np
import pytest
from sgmg_jax.input_pipeline.refshapes import cell_labels, render
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

SIDE = 160


def _body(shape, colour, texture, size, **motion):
  return scene_lib.Body(
    shape=shape,
    colour=colour,
    texture=texture,
    size=size,
    radius=scene_lib.SIZES[size][0],
    rgb=scene_lib.COLOURS[colour],
    accent=(0.0, 0.0, 0.0),
    motion=scene_lib.Motion(**motion),
  )


# From left to right, through the middle of the frame.
DISC = _body(
  "circle",
  "red",
  "plain",
  "large",
  path="line",
  start=(0.25, 0.5),
  travel=(0.5, 0.0),
)
# Up and out of the frame, turning counterclockwise; grows.
SQUARE = _body(
  "square",
  "blue",
  "striped",
  "medium",
  path="line",
  start=(0.75, 0.15),
  travel=(0.0, -0.6),
  spin=-1.5,
  scale=(1.0, 2.0),
)
# Small, and still where the disc ends up.
STAR = _body(
  "star", "brown", "checkered", "small", path="still", start=(0.75, 0.5)
)


def _label(*bodies, depth=None, num_frames=3, strides=(8, 16, 32)):
  scene = scene_lib.Scene(
    width=1.0,
    height=1.0,
    bodies=bodies,
    depth=depth or tuple(range(len(bodies))),
    background_seed=0,
  )
  rendering = render.render(
    scene, num_frames=num_frames, height=SIDE, width=SIDE
  )
  return cell_labels.label_cells(scene, rendering, strides)


def _at(maps, stride, frame, x, y):
  """The entry of the map of a stride where (x, y), in short sides, lies."""
  cells = maps[(8, 16, 32).index(stride)]
  return cells[frame, int(y * SIDE) // stride, int(x * SIDE) // stride]


def test_shapes_and_dtypes():
  classes, motion = _label(DISC, SQUARE)
  assert [c.shape for c in classes] == [(3, s, s, 4) for s in (20, 10, 5)]
  assert [m.shape for m in motion] == [(3, s, s, 8) for s in (20, 10, 5)]
  assert {c.dtype.name for c in classes} == {"int8"}
  assert {m.dtype.name for m in motion} == {"float32"}


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_cell_shows_the_object_at_its_centre(stride):
  classes, _ = _label(DISC, SQUARE)
  for frame, x in enumerate((0.26, 0.5, 0.74)):
    # circle, red, plain, large: the first word of each list but the last's
    assert _at(classes, stride, frame, x, 0.51).tolist() == [1, 1, 1, 3]
  assert _at(classes, stride, 2, 0.26, 0.51).tolist() == [0] * 4
  assert _at(classes, stride, 0, 0.76, 0.12).tolist() == [2, 3, 2, 2]
  assert not _at(classes, stride, 0, 0.05, 0.95).any()


@pytest.mark.parametrize(("depth", "seen"), [((0, 1), 4), ((1, 0), 1)])
def test_the_nearer_object_is_shown(depth, seen):
  classes, _ = _label(DISC, STAR, depth=depth)
  assert _at(classes, 8, 2, 0.76, 0.51)[0] == seen


def test_motion_of_each_object():
  _, motion = _label(DISC, SQUARE)
  names = dict(zip(cell_labels.MOTION, _at(motion, 16, 1, 0.5, 0.51)))
  assert names == pytest.approx(
    dict(
      velocity_x=0.5,
      velocity_y=0,
      travel_x=0.5,
      travel_y=0,
      growth=0,
      turn=0,
      starts=1,
      ends=1,
    ),
    abs=1e-6,
  )
  names = dict(zip(cell_labels.MOTION, _at(motion, 16, 0, 0.76, 0.12)))
  assert names == pytest.approx(
    dict(
      velocity_x=0,
      velocity_y=-0.6,
      travel_x=0,
      travel_y=-0.6,
      growth=2 * np.log(2),
      turn=-0.5,
      starts=1,
      ends=0,
    ),
    abs=1e-6,
  )
  assert not _at(motion, 16, 0, 0.05, 0.95).any()


def test_velocity_is_that_of_the_frame():
  there_and_back = _body(
    "circle",
    "red",
    "plain",
    "large",
    path="shuttle",
    start=(0.3, 0.5),
    travel=(0.3, 0.0),
  )
  _, motion = _label(there_and_back, num_frames=5)
  where = {0: 0.3, 1: 0.45, 3: 0.45, 4: 0.3}
  speeds = [_at(motion, 8, t, x, 0.5)[0] for t, x in where.items()]
  np.testing.assert_allclose(speeds, [0.6, 0.6, -0.6, -0.6], atol=1e-6)
  assert _at(motion, 8, 1, 0.45, 0.5)[2] == pytest.approx(0, abs=1e-6)


def test_a_single_frame_has_no_motion():
  classes, motion = _label(DISC, SQUARE, num_frames=1)
  assert classes[0].any() and not any(m.any() for m in motion)
