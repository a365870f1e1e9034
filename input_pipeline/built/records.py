"""Encode a split as one record per frame, in index order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
from pycocotools import mask as coco_mask

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.built import index as index_lib

Record = dict[str, Any]

_JPEG_QUALITY = 95


def _jpeg(source: source_lib.Source, video: str, index: int) -> bytes:
  """A JPEG of quality 95, for frames of a video file.

  Colours at half the resolution lose little: those of the video have no more.
  """
  file = io.BytesIO()
  frame = PIL.Image.fromarray(source.read_frames(video, [index])[0])
  frame.save(file, "JPEG", quality=_JPEG_QUALITY)
  return file.getvalue()


def needed_objects(index: index_lib.Index) -> dict[str, dict[int, set[int]]]:
  """Object ids that must be in a frame, by its index, of each video.

  Where an expression has its ground truth in one frame alone, that frame must
  have its objects; otherwise an object may be out of sight.
  """
  needed = {stored.video.name: {} for stored in index.videos}
  for e in index.expressions:
    if e.frame is not None and e.object_ids:
      needed[e.video].setdefault(e.frame, set()).update(e.object_ids)
  return needed


def of_video(
  source: source_lib.Source,
  stored: index_lib.StoredVideo,
  needed: dict[int, set[int]],
  *,
  as_jpeg: bool,
) -> Iterator[tuple[int, Record]]:
  """(number, record) of each frame of a video.

  Args:
    needed: object ids that must be in a frame, by its index.
    as_jpeg: whether frames become JPEG; else the source's own files are
      stored, byte for byte.

  Raises:
    UserError: a frame or mask is missing, unreadable or of another size than
      the video's first frame; or a frame that must show an object does not.
  """
  video = stored.video
  beyond = [i for i in needed if not 0 <= i < len(video.frames)]
  if beyond:
    raise UserError(
      f"{source.name} {source.split} video {video.name!r}: ground truth for "
      f"frame {beyond[0]}, but it has {len(video.frames)} frames"
    )
  for i, frame in enumerate(video.frames):
    what = f"{source.name} {source.split} video {video.name!r} frame {frame!r}"
    if as_jpeg:
      image = _jpeg(source, video.name, i)
    else:
      image = source.encoded_frame(video.name, i)
    _check_size("image", source_lib.image_size(image, what), video.size, what)
    ids, runs = [], []
    if stored.annotated is None or i in stored.annotated:
      objects = source.objects(video.name, i)
      missing = needed.get(i, set()) - objects.keys()
      if missing:
        raise UserError(
          f"{what}: ground truth lacks object {min(missing)} that an "
          f"expression refers to, it has {sorted(objects)}"
        )
      for object_id, mask in sorted(objects.items()):
        _check_size("mask", mask.shape, video.size, what)
        ids.append(object_id)
        runs.append(_runs(mask))
    yield (
      stored.first_record + i,
      {
        "video": video.name,
        "frame": frame,
        "image": image,
        "objects": {"id": ids, "rle": runs},
      },
    )


def _runs(mask: np.ndarray) -> bytes:
  """COCO run-length code of bool[H, W]."""
  # COCO wants columns; turning only the object's surroundings saves a third
  # of the time of a build.
  columns = np.zeros(mask.shape, np.uint8, order="F")
  rows, across = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
  if rows.size:
    part = slice(rows[0], rows[-1] + 1), slice(across[0], across[-1] + 1)
    columns[part] = mask[part]
  return coco_mask.encode(columns)["counts"]


def _check_size(part, size, expected, what) -> None:
  if tuple(size) != tuple(expected):
    raise UserError(
      f"{what}: {part} of {size[0]}x{size[1]} pixels, expected "
      f"{expected[0]}x{expected[1]} as the video's first frame"
    )
