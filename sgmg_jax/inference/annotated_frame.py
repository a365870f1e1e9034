"""All queries of one frame: what A2D, JHMDB and RefCOCO score.

The backbone sees the clip around the annotated frame; the rest of the model
sees that frame alone, as in training (SgMg, section 4.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from sgmg_jax import errors, types
from sgmg_jax.inference import postprocess, preprocess, stages
from sgmg_jax.inference.stages import Answer, TextGroup


@dataclasses.dataclass(frozen=True)
class PreparedFrame:
  """A clip as the model takes it, and which of its frames is asked about.

  Attributes:
    frame: its position.
    length: T, the number of frames.
    pixels: uint8[1, bucket, padded h, padded w, 3].
  """

  frame: int
  length: int
  geometry: preprocess.Geometry
  pixels: np.ndarray = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Detections:
  """Every query's answer to E sentences about one frame.

  Attributes:
    scores: float32[E, Q], confidence in [0, 1].
    masks: bool[E, Q, H, W] at the frame's own size.
    boxes: float32[E, Q, 4], (x1, y1, x2, y2) in pixels, not clipped.
  """

  scores: np.ndarray
  masks: np.ndarray = dataclasses.field(repr=False)
  boxes: np.ndarray


def prepare(
  model: stages.Stages, clip: np.ndarray, frame: int
) -> PreparedFrame:
  """Resize and pad a clip by the card's rule for its task.

  Args:
    clip: uint8[T, H, W, 3]; T = 1 is a picture.
    frame: position of the frame that is asked about.

  Raises:
    UserError: of another shape, no such frame, or sizes that do not fit.
  """
  clip = np.asarray(clip)
  if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3:
    raise errors.UserError(
      f"clip {clip.dtype}{list(clip.shape)}: expected uint8[T, H, W, 3], RGB"
    )
  if not 0 <= frame < len(clip):
    raise errors.UserError(
      f"frame {frame} of a clip: expected 0 to {len(clip) - 1}"
    )
  task = "annotated_frames" if len(clip) > 1 else "images"
  sides = model.preprocess[task]
  geometry = preprocess.plan_geometry(
    *clip.shape[1:3], **sides, multiple=preprocess.PAD_MULTIPLE_OF_FRAMES
  )
  resized = [preprocess.resize_frame(image, geometry) for image in clip]
  pixels = preprocess.pad_clip(resized, geometry)
  return PreparedFrame(frame, len(clip), geometry, pixels)


def encode(
  model: stages.Stages, prepared: PreparedFrame
) -> types.VideoFeatures:
  """Run what does not depend on a sentence; features of the one frame."""
  return model.programs.encode_frame(
    model.params,
    prepared.pixels,
    np.array([prepared.geometry.size], np.int32),
    np.int32(prepared.length),
    np.array([[prepared.frame]], np.int32),
  )


def ask(
  model: stages.Stages,
  features: types.VideoFeatures,
  texts: Sequence[TextGroup],
) -> Iterator[Answer]:
  """Answer each group of sentences; the answers' T is Q, the queries."""
  return model.ask(features, texts, model.programs.query_all)


def finish(
  model: stages.Stages,
  answer: Answer,
  prepared: PreparedFrame,
  *,
  threshold: float = 0.5,
) -> Detections:
  """Cut the padding off, resize to the frame's own size, threshold.

  Raises:
    UserError: the model's numbers are not finite.
  """
  geometry = prepared.geometry
  masks, scores, boxes = model.masks(answer, None, geometry, threshold)
  boxes = postprocess.corners_in_pixels(boxes, geometry.original)
  return Detections(scores, masks, boxes)
