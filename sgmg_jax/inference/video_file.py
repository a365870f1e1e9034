"""Open a video file as a reader of its frames."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator

from sgmg_jax import errors
from sgmg_jax.inference import video_reader
from sgmg_jax.input_pipeline import video_decoder


def open_file(
  path: pathlib.Path, on_error: video_decoder.OnError = "skip"
) -> video_reader.VideoReader:
  """Read the header and decode the first frame.

  Args:
    path: anything that FFmpeg reads.
    on_error: what a damaged frame does while iterating: "skip" leaves it out,
      counts it and warns at the end, "error" raises a UserError. A frame of
      another size than the first is damaged.

  Raises:
    UserError: not a readable video, or no frames.
  """
  header = video_decoder.read_header(path)
  first = next(video_decoder.decode(path, on_error), None)
  if first is None:
    raise errors.UserError(f"video {path}: it has no frames")
  size = first.to_rgb().shape[:2]
  pixel_aspect = header.pixel_aspect
  if first.orientation.transposed:
    pixel_aspect = 1 / pixel_aspect
  skipped: list[int] = []

  def open_frames() -> Iterator[video_reader.TimedFrame]:
    shown = 0
    for decoded in video_decoder.decode(path, on_error, skipped):
      pixels = decoded.to_rgb()
      if pixels.shape[:2] == size:
        yield video_reader.TimedFrame(pixels, decoded.time, decoded.number)
        shown += 1
      elif on_error == "skip":
        skipped.append(decoded.number)
      else:
        raise errors.UserError(
          f"video {path}: the frame size changes at frame {decoded.number}"
        )
    _report(path, shown, skipped, header.num_frames)

  return video_reader.VideoReader(
    name=path.name,
    height=size[0],
    width=size[1],
    fps=header.fps or video_reader.DEFAULT_FPS,
    num_frames=header.num_frames,
    rereadable=True,
    open_frames=open_frames,
    pixel_aspect=pixel_aspect,
    skipped=skipped,
  )


def _report(path, shown: int, skipped: list[int], promised: int | None):
  """Warn of frames that are missing."""
  if skipped:
    listed = ", ".join(map(str, skipped[:10])) + ", …" * (len(skipped) > 10)
    logging.warning(
      "video %s: %d damaged frame%s skipped (%s)",
      path,
      len(skipped),
      "s" * (len(skipped) > 1),
      listed,
    )
  if promised and shown + len(skipped) < promised:
    logging.warning(
      "video %s: the header promises %d frames, %d could be decoded",
      path,
      promised,
      shown,
    )
