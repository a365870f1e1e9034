"""Checks of a video file."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import video_decoder
from sgmg_jax.input_pipeline.doctor import plan
from sgmg_jax.input_pipeline.layouts import video_frames


@dataclasses.dataclass(frozen=True)
class Movie:
  """Number of frames and their (height, width) in pixels."""

  frames: int
  size: tuple[int, int]


def check(
  path: pathlib.Path, out: plan.Outcome, split: str, video: str, *, fast: bool
) -> Movie | None:
  """Decode a video file; with `fast`, read its index only.

  Returns:
    None, and a finding, if it cannot be read to its end.
  """
  where = dict(file=path, video=video)
  if not path.is_file():
    out.findings.add("video-missing", "no such file", **where)
    return None
  if not path.stat().st_size:
    out.findings.add("video-corrupt", "the file is empty", **where)
    return None
  try:
    announced, *size = video_frames.probe(path, video)
    found = announced if fast else _decode(path)
  except UserError as e:
    out.findings.add("video-corrupt", str(e), **where)
    return None
  if found != announced:
    out.findings.add(
      "video-corrupt",
      f"{found} frames can be decoded, it announces {announced}",
      **where,
    )
  if not fast:
    data = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    out.frames.append(plan.Frame(split, video, str(path), data))
  return Movie(found, tuple(size))


def read_frame(path: pathlib.Path, index: int) -> np.ndarray:
  """uint8[H, W, 3], RGB, counted from 0."""
  return video_frames.read(path, [index], path.name)[0]


def _decode(path: pathlib.Path) -> int:
  """The number of frames that come out."""
  # Many videos are decoded at once.
  return sum(1 for _ in video_decoder.decode(path, threads=1))
