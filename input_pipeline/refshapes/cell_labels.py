"""What each cell of a feature map shows: the looks and the motion of an object.

Labels for training a backbone without sentences. A cell shows the object that
its central pixel shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sgmg_jax.input_pipeline.refshapes import render as render_lib
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

# Looks in the order of the classes' last axis, each with its words; class k
# is word k - 1, class 0 the background.
LOOKS = {
  "shape": scene_lib.SHAPES,
  "colour": tuple(scene_lib.COLOURS),
  "texture": scene_lib.TEXTURES,
  "size": tuple(scene_lib.SIZES),
}
# Entries of the motion's last axis, scaled to be of like size. Lengths are in
# short sides of the frame and y points down, the clip lasts 1.
MOTION = (
  "velocity_x",  # at this frame
  "velocity_y",
  "travel_x",  # from the first frame to the last
  "travel_y",
  "growth",  # 2 ln(last radius / first radius)
  "turn",  # clockwise from first frame to last, 3 radians, within [-2, 2]
  "starts",  # 1 if it is to be seen in the first frame, else 0
  "ends",  # the same of the last frame
)


def label_cells(
  scene: scene_lib.Scene,
  rendering: render_lib.Rendering,
  strides: Sequence[int],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """Labels of maps with h = H / stride and w = W / stride.

  Args:
    scene: what was drawn.
    rendering: of the scene, at even instants; see `render.render`.
    strides: divisors of the frame's sides.

  Returns:
    For every stride the classes int8[T, h, w, 4], see `LOOKS`, and the motion
    float32[T, h, w, 8], see `MOTION`, zeros in the background and throughout
    a single frame.
  """
  number = np.arange(1, len(scene.bodies) + 1, dtype=np.int8)
  looks, motion = _looks(scene), _motion(scene, rendering)
  instants = np.arange(motion.shape[0])[:, None, None]
  classes, motions = [], []
  for s in strides:
    centres = rendering.masks[:, :, s // 2 :: s, s // 2 :: s]
    # Masks are disjoint: the sum is the one object's number, or 0.
    shown = np.tensordot(number, centres, 1)
    classes.append(looks[shown])
    motions.append(motion[instants, shown])
  return classes, motions


def _looks(scene: scene_lib.Scene) -> np.ndarray:
  """int8[O + 1, 4]; row 0 is the background's."""
  return np.array(
    [[0] * len(LOOKS)]
    + [
      [1 + words.index(getattr(body, name)) for name, words in LOOKS.items()]
      for body in scene.bodies
    ],
    np.int8,
  )


def _motion(
  scene: scene_lib.Scene, rendering: render_lib.Rendering
) -> np.ndarray:
  """float32[T, O + 1, 8]; column 0 is the background's."""
  num_frames = rendering.masks.shape[1]
  motion = np.zeros((num_frames, len(scene.bodies) + 1, len(MOTION)))
  if num_frames > 1:
    times = render_lib.frame_times(num_frames)
    seen = rendering.masks.any((2, 3))
    for i, body in enumerate(scene.bodies):
      path, own = body.motion, motion[:, i + 1]
      centres = path.centres(times)
      angles = path.angles(times, body.radius)
      own[:, 0:2] = np.gradient(centres, times, axis=0)
      own[:, 2:4] = centres[-1] - centres[0]
      own[:, 4] = 2.0 * np.log(path.scale[1] / path.scale[0])
      own[:, 5] = np.clip((angles[-1] - angles[0]) / 3.0, -2.0, 2.0)
      own[:, 6:8] = seen[i, 0], seen[i, -1]
  return motion.astype(np.float32)
