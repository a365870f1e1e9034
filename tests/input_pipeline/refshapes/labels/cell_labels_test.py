"""Labels of hand-made scenes: which object a cell shows, what it does."""

import pytest

from sgmg_jax.input_pipeline.refshapes import facts, render
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib
from sgmg_jax.input_pipeline.refshapes.labels import cell_labels

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
  seen = facts.measure(scene, rendering)
  return cell_labels.label_cells(seen, rendering.masks, strides)


def _at(maps, stride, frame, x, y):
  """The entry of the map of a stride where (x, y), in short sides, lies."""
  cells = maps[(8, 16, 32).index(stride)]
  return cells[frame, int(y * SIDE) // stride, int(x * SIDE) // stride]


def test_shapes_and_dtypes():
  classes, motion = _label(DISC, SQUARE)
  assert [c.shape for c in classes] == [(3, s, s, 4) for s in (20, 10, 5)]
  assert [m.shape for m in motion] == [
    (3, s, s, len(cell_labels.MOTION)) for s in (20, 10, 5)
  ]
  assert {c.dtype.name for c in classes} == {"int8"}
  assert {m.dtype.name for m in motion} == {"int8"}


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


def _said(labels):
  """The predicates that labels call true, those they leave open."""
  names = [f"{p.name} {p.value}".strip() for p in cell_labels.MOTION]
  pick = lambda value: {n for n, x in zip(names, labels) if x == value}
  return pick(1), pick(-1)


def test_what_each_object_does():
  _, motion = _label(DISC, SQUARE, num_frames=5)
  true, unsure = _said(_at(motion, 16, 2, 0.5, 0.51))
  assert true == {"heads right", "moves", "stays", "starts left", "ends right"}
  assert not unsure & {"heads left", "still", "spins", "enters", "leaves"}
  true, unsure = _said(_at(motion, 16, 0, 0.76, 0.12))
  # It is gone too soon to speak of how it moves.
  assert true == {"leaves"} and {"moves", "spins", "grows"} <= unsure
  assert set(_at(motion, 16, 0, 0.05, 0.95)) == {-1}


def test_an_object_does_the_same_in_every_frame():
  _, motion = _label(DISC, STAR, num_frames=5)
  labels = [_at(motion, 8, t, 0.25 + t / 8, 0.51) for t in range(3)]
  assert (labels[0] == labels[1]).all() and (labels[0] == labels[2]).all()
  assert "heads right" in _said(labels[0])[0]
  true, _ = _said(_at(motion, 8, 0, 0.76, 0.51))
  assert {"still", "stays"} <= true and "moves" not in true


@pytest.mark.parametrize(
  ("depth", "disc", "star"),
  [((0, 1), "behind", "front"), ((1, 0), "front", "behind")],
)
def test_who_passes_in_front(depth, disc, star):
  _, motion = _label(DISC, STAR, depth=depth, num_frames=5)
  # Long before they meet.
  for x, says, denies in ((0.25, disc, star), (0.76, star, disc)):
    true, unsure = _said(_at(motion, 8, 0, x, 0.51))
    assert f"passes {says}" in true
    assert f"passes {denies}" not in true | unsure


def test_a_single_frame_tells_no_motion():
  classes, motion = _label(DISC, SQUARE, num_frames=1)
  true, unsure = _said(_at(motion, 8, 0, 0.51, 0.51))
  assert classes[0].any()
  assert true == {"stays"}
  assert {"heads right", "moves", "still", "most speed"} <= unsure
