"""The interface of a data set: expressions, frames and masks.

A source gives random access in plain numpy and is safe to read from several
threads. It knows nothing of sampling, transforms or batches. The raw readers
in `sets/` and the built data sets in `built/` are sources alike, so that
training from either gives the same samples.
"""

from __future__ import annotations

import abc
import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import PIL.Image

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import still_image


@dataclasses.dataclass(frozen=True)
class Video:
  """A video, or an image as a video of one frame.

  Attributes:
    name: unique within the source.
    frames: names of its frames, in order.
    size: (height, width) of every frame, pixels.
  """

  name: str
  frames: tuple[str, ...]
  size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Expression:
  """A sentence about one video.

  Attributes:
    video: the video's name.
    id: unique within the video.
    text: as stored, not normalised.
    object_ids: of the objects that it refers to, whose masks are united;
      empty where the ground truth is not public.
    frame: index of the only frame with ground truth (A2D, JHMDB, images);
      None if all frames have it.
  """

  video: str
  id: str
  text: str
  object_ids: tuple[int, ...] = ()
  frame: int | None = None

  @property
  def key(self) -> str:
    """Name in messages: video and expression."""
    return f"{self.video}/{self.id}"


class Source(abc.ABC):
  """One split of a data set.

  Attributes:
    name: of the data set, such as "refer_ytvos".
    split: such as "train".
    expressions: in the data set's official order.
  """

  name: str
  split: str
  expressions: Sequence[Expression]

  @abc.abstractmethod
  def video(self, name: str) -> Video:
    """Find the named video, without reading more than a header.

    Raises:
      UserError: it is missing or its first frame cannot be read.
    """

  @abc.abstractmethod
  def encoded_frame(self, video: str, index: int) -> bytes:
    """Read the image file (JPEG or PNG) of one frame.

    Raises:
      UserError: no such file; names it and the video.
    """

  @abc.abstractmethod
  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    """Read masks bool[H, W] by object id, of every object in that frame.

    Raises:
      UserError: the frame has no ground truth, or it cannot be read.
    """

  def box(self, expression: Expression) -> np.ndarray | None:
    """Look up the data set's own box of the object referred to.

    Returns:
      float32[4], x1, y1, x2, y2 in pixels, of the expression's only frame; or
      None where the masks say it all.
    """
    del expression
    return None

  def read_images(
    self, video: str, indices: Sequence[int]
  ) -> list[PIL.Image.Image]:
    """Decode images, all of the video's size: RGB, upright, opaque.

    Raises:
      UserError: a frame is missing, corrupt or of another size; names the
        file and the video.
    """
    height, width = self.video(video).size
    images = []
    for index in indices:
      what, data = self._encoded(video, index)
      image = decode_image(data, what)
      if image.size != (width, height):
        raise UserError(
          f"{what}: {image.height}x{image.width} pixels, expected "
          f"{height}x{width} as the video's first frame"
        )
      images.append(image)
    return images

  def _encoded(self, video: str, index: int) -> tuple[str, bytes]:
    """Name of a frame in messages, and its image file."""
    what = f"{self.name} video {video!r} frame {index}"
    return what, self.encoded_frame(video, index)

  def read_frames(self, video: str, indices: Sequence[int]) -> np.ndarray:
    """Decode uint8[N, H, W, 3], RGB; errors as of `read_images`."""
    height, width = self.video(video).size
    frames = np.empty((len(indices), height, width, 3), np.uint8)
    for frame, image in zip(frames, self.read_images(video, indices)):
      frame[:] = image
    return frames

  def read_masks(
    self, expression: Expression, indices: Sequence[int]
  ) -> np.ndarray:
    """Read bool[N, H, W], the union of the expression's objects.

    An object that a frame does not show gives an empty mask.

    Raises:
      UserError: as `objects`; or a mask of another size than the frames.
    """
    height, width = self.video(expression.video).size
    masks = np.zeros((len(indices), height, width), bool)
    for row, index in enumerate(indices):
      objects = self.objects(expression.video, index)
      for object_id in expression.object_ids:
        if object_id in objects:
          if objects[object_id].shape != (height, width):
            raise UserError(
              f"{self.name} video {expression.video!r} frame {index}: mask of "
              f"{objects[object_id].shape}, expected {(height, width)} as the "
              "frame"
            )
          masks[row] |= objects[object_id]
    return masks


def decode_image(data: bytes, what: str) -> PIL.Image.Image:
  """Decode an RGB image, see `still_image.to_rgb`.

  Raises:
    UserError: not a still image, or cut short; `what` names it.
  """
  try:
    return still_image.decode(data)
  except still_image.Unreadable as e:
    raise UserError(f"{what}: not a readable image: {e}") from e


def image_size(data: bytes, what: str) -> tuple[int, int]:
  """Read (height, width) of an image once upright, without its pixels.

  Raises:
    UserError: not a still image; `what` names it.
  """
  try:
    return still_image.read_size(io.BytesIO(data))
  except still_image.Unreadable as e:
    raise UserError(f"{what}: not a readable image: {e}") from e


def decode_labels(data: bytes, what: str) -> np.ndarray:
  """Decode uint8[H, W] object ids of a palette or grey PNG; 0: background.

  Raises:
    UserError: not an image, or of another mode: converting colours to ids
      would give garbage.
  """
  try:
    with still_image.opened(io.BytesIO(data)) as image:
      mode, labels = image.mode, np.asarray(image)
  except still_image.Unreadable as e:
    raise UserError(f"{what}: not a readable PNG: {e}") from e
  if mode not in ("P", "L"):
    raise UserError(
      f"{what}: PNG of mode {mode}, expected a palette (P) or grey (L) one "
      "that holds object ids"
    )
  return labels
