"""Videos as folders of JPEG frames, ground truth as folders of label maps.

```
JPEGImages/<video>/<frame>.jpg
Annotations/<video>/<frame>.png    palette or grey PNG: object id, 0 = none
```

Nothing is listed or checked before it is asked for: opening a set of
thousands of videos touches no frame.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems, source, still_image

# What own data may hold beside the released sets' .jpg; in capitals, too.
SUFFIXES = (".jpg", ".jpeg", ".png")


class FrameFolders(source.Source):
  """Frames below a folder; subclasses say where masks come from."""

  def __init__(
    self,
    name: str,
    split: str,
    images: pathlib.Path,
    frames: Mapping[str, tuple[str, ...]],
    expressions: Sequence[source.Expression],
    *,
    report: problems.Report = problems.stop,
  ):
    """Note what is known of the split.

    Args:
      images: folder of the videos' folders.
      frames: names of the frames of each video, in order.
      expressions: in the official order.
      report: is told if there is no folder of images.
    """
    if not images.is_dir():
      report(
        "file-missing",
        "no such folder, expected a folder of JPEG frames for each video of "
        f"{name} {split}",
        file=images,
      )
    self.name = name
    self.split = split
    self.images = images
    self.frames = frames
    self.expressions = expressions
    self._videos: dict[str, source.Video] = {}

  def video(self, name: str) -> source.Video:
    if name not in self._videos:
      frames = self._frames(name)
      with self._open(name, frames[0]) as file:
        try:
          size = still_image.read_size(file)
        except still_image.Unreadable as e:
          raise UserError(
            f"{file.name}: not a readable image: {e}; first frame of "
            f"{self.name} video {name!r}"
          ) from e
      # Two threads may both come here; they store the same.
      self._videos[name] = source.Video(name, frames, size)
    return self._videos[name]

  def encoded_frame(self, video: str, index: int) -> bytes:
    with self._open(video, self._frames(video)[index]) as file:
      return file.read()

  def _encoded(self, video: str, index: int) -> tuple[str, bytes]:
    # As the base class, but messages name the file.
    with self._open(video, self._frames(video)[index]) as file:
      return f"{file.name}: {self.name} video {video!r}", file.read()

  def _frames(self, video: str) -> tuple[str, ...]:
    if video not in self.frames:
      raise UserError(f"{self.name} {self.split}: no video {video!r}")
    return self.frames[video]

  def _open(self, video: str, frame: str) -> BinaryIO:
    path = find(self.images / video, frame, SUFFIXES)
    try:
      return regular_file.open_binary(path)
    except FileNotFoundError as e:
      raise UserError(
        f"{path}: no such file, expected frame {frame!r} of {self.name} "
        f"video {video!r}"
      ) from e
    except OSError as e:
      raise UserError(
        f"{path}: cannot be read ({e.strerror}), {self.name} video {video!r}"
      ) from e


class LabelFolders(FrameFolders):
  """Frames and label maps.

  Attributes:
    annotations: folder of the videos' folders of label maps; None without
      ground truth.
    void: value that is neither object nor background, None if there is none.
  """

  def __init__(
    self,
    name: str,
    split: str,
    images: pathlib.Path,
    frames: Mapping[str, tuple[str, ...]],
    expressions: Sequence[source.Expression],
    *,
    annotations: pathlib.Path | None,
    void: int | None = None,
    report: problems.Report = problems.stop,
  ):
    """Note what is known; as `FrameFolders`, and the attributes.

    `report` is told of missing folders, too.
    """
    super().__init__(name, split, images, frames, expressions, report=report)
    if annotations is not None and not annotations.is_dir():
      report(
        "file-missing",
        f"no such folder, expected label maps (PNG) of {name} {split}",
        file=annotations,
      )
    self.annotations = annotations
    self.void = void

  def labels(self, video: str, index: int) -> np.ndarray:
    """uint8[H, W] as stored, `void` included.

    Raises:
      UserError: no ground truth, no such file, or not a palette or grey PNG.
    """
    frame = self._frames(video)[index]
    if self.annotations is None:
      raise UserError(
        f"{self.name} {self.split} has no ground truth: asked for that of "
        f"video {video!r} frame {frame!r}"
      )
    path = find(self.annotations / video, frame, (".png",))
    what = f"{path}: {self.name} video {video!r}"
    try:
      data = regular_file.read_bytes(path)
    except FileNotFoundError as e:
      raise UserError(
        f"{what}: no such file, expected the label map of frame {frame!r}"
      ) from e
    except OSError as e:
      raise UserError(f"{what}: cannot be read ({e.strerror})") from e
    labels = source.decode_labels(data, what)
    if labels.shape != self.video(video).size:
      raise UserError(
        f"{what}: {labels.shape[0]}x{labels.shape[1]} pixels, expected "
        "{}x{} as the video's first frame".format(*self.video(video).size)
      )
    return labels

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    labels = self.labels(video, index)
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    return {int(i): labels == i for i in present if i not in (0, self.void)}

  def read_masks(
    self, expression: source.Expression, indices: Sequence[int]
  ) -> np.ndarray:
    # Compares only the ids asked for; the base class splits all objects.
    size = self.video(expression.video).size
    masks = np.zeros((len(indices), *size), bool)
    for row, index in enumerate(indices):
      try:
        labels = self.labels(expression.video, index)
      except UserError as e:
        raise UserError(f"{e}; for expression {expression.key}") from e
      for object_id in expression.object_ids:
        masks[row] |= labels == object_id
    return masks


def find(
  folder: pathlib.Path, name: str, suffixes: Sequence[str]
) -> pathlib.Path:
  """The file of that name with the first of the suffixes that is there.

  A suffix may be in capitals, as cameras write it. Without any such file, the
  path with the first suffix.
  """
  paths = [folder / (name + suffix) for suffix in suffixes]
  for path in paths:
    if os.path.exists(path):
      return path
  # Released sets never come here, so that no folder of theirs is listed.
  return files_in(folder, suffixes).get(name, paths[0])


def files_in(
  folder: pathlib.Path, suffixes: Sequence[str]
) -> dict[str, pathlib.Path]:
  """Files that `find` finds in a folder, by name; none without a folder.

  Hidden files are left out.
  """
  found: dict[str, tuple[int, str]] = {}
  with contextlib.suppress(OSError):
    for entry in sorted(os.listdir(folder)):
      stem, suffix = os.path.splitext(entry)
      if suffix.lower() in suffixes and not entry.startswith("."):
        exact = suffix in suffixes
        place = suffixes.index(suffix) if exact else len(suffixes)
        found[stem] = min((place, entry), found.get(stem, (place + 1, "")))
  return {stem: folder / entry for stem, (_, entry) in found.items()}
