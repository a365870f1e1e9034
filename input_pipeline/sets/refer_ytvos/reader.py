"""Ref-YouTube-VOS as downloaded.

```
<split>/JPEGImages/<video>/<frame>.jpg
<split>/Annotations/<video>/<frame>.png
meta_expressions/<split>/meta_expressions.json
```

The sentences are the "full-video" ones of the competition release (Seo et
al., "URVOS", ECCV 2020). Only its train split has ground truth.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.layouts import frame_folders, meta_expressions
from sgmg_jax.input_pipeline.sets.refer_ytvos.about import ABOUT

MetaExpressions = meta_expressions.MetaExpressions

_logger = logging.getLogger(__name__)

# Of the released valid split.
VALID_VIDEOS = ABOUT.published["valid"]["videos"]


class ReferYTVOS(frame_folders.LabelFolders):
  """The competition release: splits train, valid and test.

  Its valid file describes the videos of valid and test together. Those of
  the valid split are the ones that the test file lacks or, without a test
  file, those with a folder of frames; sorted by name.
  """

  def __init__(
    self, path: str | os.PathLike, split: str, *, strict: bool = False
  ):
    """Open a split.

    Args:
      strict: whether other than 202 videos in split valid are an error; else
        they are logged.

    Raises:
      UserError: a folder or file is missing or malformed, or `strict`.
    """
    if split not in ("train", "valid", "test"):
      raise UserError(
        f"refer_ytvos split {split!r}: expected train, valid or test"
      )
    root = pathlib.Path(path)
    content = read_expressions(root, split)
    if split == "train":
      # The official loader sorts here, and elsewhere takes the file's order.
      frames = {v: tuple(sorted(f)) for v, f in content.frames.items()}
      content = dataclasses.replace(content, frames=frames)
    elif split == "valid":
      content = _validation_videos(root, content, strict)
    super().__init__(
      "refer_ytvos", split, **folders_and_content(root, split, content)
    )


def expression_file(root: pathlib.Path, split: str) -> pathlib.Path:
  """Path of the sentences of a split."""
  return root / "meta_expressions" / split / "meta_expressions.json"


def read_expressions(
  root: pathlib.Path, split: str, report: problems.Report = problems.stop
) -> MetaExpressions:
  """Content of a split's expression file, all its videos.

  Raises:
    UserError: no such file, or as `report`.
  """
  return meta_expressions.read(
    expression_file(root, split),
    objects="required" if split == "train" else "optional",
    report=report,
  )


def folders_and_content(
  root: pathlib.Path, split: str, content: MetaExpressions
) -> dict:
  """Arguments of `LabelFolders` in this layout, from `images` on."""
  folder = root / split
  return {
    "images": folder / "JPEGImages",
    "annotations": folder / "Annotations" if content.has_objects else None,
    "frames": content.frames,
    "expressions": content.expressions,
  }


def _validation_videos(
  root: pathlib.Path, content: MetaExpressions, strict: bool
) -> MetaExpressions:
  if expression_file(root, "test").exists():
    others = read_expressions(root, "test").frames
    videos = [video for video in content.frames if video not in others]
    rule = "in the valid but not in the test expression file"
  else:
    images = root / "valid" / "JPEGImages"
    found = {folder.name for folder in images.glob("*")}
    videos = [video for video in content.frames if video in found]
    rule = f"in the valid expression file and in {images}"
  if len(videos) != VALID_VIDEOS:
    message = (
      f"{root}: {len(videos)} videos are {rule}, expected {VALID_VIDEOS} as "
      "released"
    )
    if strict or not videos:
      raise UserError(message)
    _logger.warning("%s", message)
  return content.select(sorted(videos))
