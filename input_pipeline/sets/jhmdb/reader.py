"""JHMDB-Sentences as it lies on disk; for evaluation only.

```
Rename_Images/<action>/<video>/<frame from 00001>.png
puppet_mask/<action>/<video>/puppet_mask.mat             part_mask[H, W, T]
jhmdb_sentences_samples_metadata.json                    the frames to score
```
"""

from __future__ import annotations

import functools
import logging
import os
import pathlib

import numpy as np
import scipy.io

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems, source
from sgmg_jax.input_pipeline.layouts import json_file
from sgmg_jax.input_pipeline.sets.jhmdb import convert
from sgmg_jax.input_pipeline.sets.jhmdb.about import SAMPLES_FILE

_EXPECTED = "[video, frame file, mask file, masks, query]"
# Every video has one annotated person.
OBJECT_ID = 1


class JHMDB(source.Source):
  """JHMDB-Sentences: three fixed frames of every video have to be segmented.

  They were drawn once at random and published; other frames would give other
  numbers, so the list must be there. A video has as many frames as it has
  masks: clips around a chosen frame stay within these. The id of an
  expression is `f_<frame from 1>`.

  Attributes:
    files: by video, the folder of its frames, the file of its masks and the
      number of frames with masks.
  """

  name = "jhmdb"
  files: dict[str, tuple[pathlib.Path, pathlib.Path, int]]

  def __init__(
    self,
    path: str | os.PathLike,
    split: str = "test",
    *,
    draw_frames: bool = False,
    report: problems.Report = problems.stop,
  ):
    """Read the list of chosen frames.

    Args:
      draw_frames: draw other frames if the list is missing; their scores do
        not compare with published ones.

    Raises:
      UserError: no such split, the list cannot be read, or as `report`.
    """
    if split != "test":
      raise UserError(
        f"jhmdb split {split!r}: expected 'test', it has no other"
      )
    self.split = split
    root = pathlib.Path(path)
    listed = root / SAMPLES_FILE
    if listed.exists():
      samples = json_file.read(
        listed, f"a list of {_EXPECTED}", kind=list, report=report
      )
    elif draw_frames:
      logging.warning("%s is missing: drawing other frames to score", listed)
      samples = convert.draw_samples(root)
    else:
      raise problems.Problem(
        "file-missing",
        "no such file; it lists the frames to score and is published with "
        "MTTR, other frames (draw_frames) give other numbers",
        file=listed,
      )
    self.files = {}
    self.expressions = self._parse(samples, root, report)
    self._videos: dict[str, source.Video] = {}

  def video(self, name: str) -> source.Video:
    if name not in self._videos:
      _, _, num_masks = self._find(name)
      frames = tuple(f"{number:05d}" for number in range(1, num_masks + 1))
      what = f"jhmdb video {name!r}: {self._frame_file(name, 0)}"
      size = source.image_size(self.encoded_frame(name, 0), what)
      self._videos[name] = source.Video(name, frames, size)
    return self._videos[name]

  def encoded_frame(self, video: str, index: int) -> bytes:
    path = self._frame_file(video, index)
    try:
      return regular_file.read_bytes(path)
    except OSError as e:
      raise UserError(
        f"jhmdb video {video!r}: cannot read {path} ({e.strerror})"
      ) from e

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    _, path, num_masks = self._find(video)
    what = f"jhmdb video {video!r}"
    try:
      masks = _part_mask(path)
    except UserError as e:
      raise UserError(f"{what}: {e}") from e
    if masks.shape[-1] < num_masks:
      raise UserError(
        f"{what}: {path} has {masks.shape[-1]} masks, expected {num_masks} as "
        f"{SAMPLES_FILE} says"
      )
    if not 0 <= index < num_masks:
      raise UserError(f"{what}: frame {index}, expected 0..{num_masks - 1}")
    return {OBJECT_ID: masks[..., index]}

  def _find(self, video: str) -> tuple[pathlib.Path, pathlib.Path, int]:
    if video not in self.files:
      raise UserError(f"jhmdb video {video!r}: not in {SAMPLES_FILE}")
    return self.files[video]

  def _frame_file(self, video: str, index: int) -> pathlib.Path:
    folder, _, num_masks = self._find(video)
    if not 0 <= index < num_masks:
      raise UserError(
        f"jhmdb video {video!r}: frame {index}, expected 0..{num_masks - 1}"
      )
    return folder / f"{index + 1:05d}.png"

  def _parse(
    self, samples: list, root: pathlib.Path, report: problems.Report
  ) -> tuple[source.Expression, ...]:
    listed = root / SAMPLES_FILE
    expressions: dict[tuple[str, str], source.Expression] = {}
    for number, sample in enumerate(samples):
      tell = functools.partial(report, file=listed, place=f"entry {number}")
      match sample:
        case [str(video), str(image), str(masks), int(num_masks), str(text)]:
          pass
        case _:
          tell("malformed", f"{sample!r}, expected {_EXPECTED}")
          continue
      tell = functools.partial(tell, video=video)
      wrong = [path for path in (image, masks) if not _is_below(path)]
      if wrong:
        report(
          "malformed",
          f"path {wrong[0]!r}, expected one such as "
          "./jhmdb_sentences/Rename_Images/...",
          file=listed,
          video=video,
        )
        continue
      image_file, mask_file = _below(root, image), _below(root, masks)
      stem = image_file.stem
      if not stem.isdecimal() or not 1 <= int(stem) <= num_masks:
        tell(
          "frame-index",
          f"frame {image}, expected one of its {num_masks} frames with masks",
          place=f"entry {number}, video {video!r}, expression {text!r}",
        )
        continue
      files = (image_file.parent, mask_file, num_masks)
      if self.files.setdefault(video, files) != files:
        tell(
          "malformed",
          f"video {video!r} has other files or another number of masks than "
          "before",
        )
        continue
      expression = source.Expression(
        video=video,
        id=f"f_{int(stem)}",
        text=text,
        object_ids=(OBJECT_ID,),
        frame=int(stem) - 1,
      )
      if (video, expression.id) in expressions:
        tell("malformed", f"expression {expression.key} is there twice")
        continue
      if not text.strip():
        problems.warn(report, f"{listed}: expression {expression.key} is empty")
      expressions[video, expression.id] = expression
    return tuple(expressions.values())


def _is_below(stored: str) -> bool:
  """Return whether a listed path lies in a data set's folder, of any name."""
  parts = pathlib.PurePosixPath(stored).parts
  return len(parts) >= 2 and ".." not in parts and parts[0] != "/"


def _below(root: pathlib.Path, stored: str) -> pathlib.Path:
  return root.joinpath(*pathlib.PurePosixPath(stored).parts[1:])


def part_mask(path: pathlib.Path) -> np.ndarray:
  """[H, W, T] of a puppet_mask.mat; uint8, 0 and 1, if it is as published.

  Raises:
    UserError: no such file, damaged, or an array of another form.
  """
  try:
    regular_file.check(path)
    masks = scipy.io.loadmat(path, variable_names=["part_mask"])["part_mask"]
  # A damaged file raises nearly anything.
  except Exception as e:
    missing = isinstance(e, FileNotFoundError)
    raise problems.Problem(
      "mask-missing" if missing else "mask-corrupt",
      f"cannot read 'part_mask' ({e})",
      file=path,
    ) from e
  if masks.ndim not in (2, 3):
    raise problems.Problem(
      "mask-shape",
      f"part_mask is {list(masks.shape)}, expected [height, width, frames]",
      file=path,
    )
  # MATLAB drops a last axis of length one.
  return np.atleast_3d(masks)


# Windows of one video are asked for one after the other.
@functools.lru_cache(maxsize=4)
def _part_mask(path: pathlib.Path) -> np.ndarray:
  masks = part_mask(path) != 0
  masks.flags.writeable = False
  return masks
