"""Make single-frame examples of A2D-Sentences from its text annotations.

MTTR distributes them as a2d_sentences_single_frame_{train,test}_annotations
.json; this makes the same lists from what the data set itself contains.
"""

from __future__ import annotations

import csv
import os
import pathlib

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline.sets.a2d import annotation

# The last column of videoset.csv.
SUBSETS = {"train": "0", "test": "1"}

# Of a2d_annotation.txt.
COLUMNS = ["video_id", "instance_id", "query"]

# A video of the training set holds a row with this instead of an id.
_DUPLICATE = "1 (copy)"


def examples_file(root: str | os.PathLike, split: str) -> pathlib.Path:
  """Path at which other toolkits store the examples of a split."""
  name = f"a2d_sentences_single_frame_{split}_annotations.json"
  return pathlib.Path(root) / name


def single_frame_examples(root: str | os.PathLike, split: str) -> list[list]:
  """[sentence in lower case, video, frame from 1, instance id] of a split.

  One for each sentence and annotated frame that shows the instance; sentences
  in the order of the annotation file, frames in order. Videos without any
  instance annotation are left out.

  Raises:
    UserError: an unknown split; a file is missing or malformed.
  """
  if split not in SUBSETS:
    raise UserError(f"a2d split {split!r}: expected one of {sorted(SUBSETS)}")
  texts = pathlib.Path(root) / "text_annotations"
  videos = _videos(pathlib.Path(root), split)
  frames: dict[str, list[tuple[int, list[int]]]] = {}
  examples = []
  for video, instance, sentence in _sentences(texts / "a2d_annotation.txt"):
    if video not in videos or instance == _DUPLICATE:
      continue
    if not instance.isdecimal():
      raise UserError(
        f"{texts / 'a2d_annotation.txt'}: video {video!r}, expression "
        f"{sentence!r}: instance {instance!r}, expected an integer"
      )
    if video not in frames:
      folder = texts / "a2d_annotation_with_instances" / video
      frames[video] = _annotated_frames(folder, video)
    examples += [
      [sentence.lower(), video, frame, int(instance)]
      for frame, instances in frames[video]
      if int(instance) in instances
    ]
  return examples


def _videos(root: pathlib.Path, split: str) -> set[str]:
  """Videos of the split that have annotations."""
  path = root / "Release" / "videoset.csv"
  rows = _rows(path)
  for number, row in enumerate(rows, 1):
    if len(row) != 9 or row[8].strip() not in SUBSETS.values():
      raise UserError(
        f"{path} line {number}: {row}, expected 9 columns, the last 0 or 1"
      )
  missed = root / "text_annotations" / "a2d_missed_videos.txt"
  chosen = {row[0].strip() for row in rows if row[8].strip() == SUBSETS[split]}
  return chosen - {row[0].strip() for row in _rows(missed)}


def _sentences(path: pathlib.Path) -> list[tuple[str, str, str]]:
  """(video, instance, sentence) of every row."""
  header, *rows = _rows(path) or [[]]
  if [field.strip() for field in header] != COLUMNS:
    raise UserError(f"{path}: header {header}, expected {COLUMNS}")
  for number, row in enumerate(rows, 2):
    if len(row) != 3:
      raise UserError(f"{path} row {number}: {row}, expected three columns")
  return [(row[0].strip(), row[1].strip(), row[2]) for row in rows]


def _annotated_frames(
  folder: pathlib.Path, video: str
) -> list[tuple[int, list[int]]]:
  """(frame from 1, instance ids) of every annotated frame, in order."""
  paths = sorted(folder.glob("*.h5"))
  if not paths:
    raise UserError(
      f"{folder}: no annotated frames of a2d video {video!r}, which is not in "
      "a2d_missed_videos.txt either"
    )
  for path in paths:
    if not path.stem.isdecimal():
      raise UserError(f"{path}: expected a frame number as its name")
  return [(int(path.stem), annotation.instance_ids(path)) for path in paths]


def _rows(path: pathlib.Path) -> list[list[str]]:
  """Non-empty rows of a CSV file."""
  try:
    regular_file.check(path)
    with path.open(encoding="utf-8", newline="") as file:
      return [
        row for row in csv.reader(file) if any(field.strip() for field in row)
      ]
  except (OSError, UnicodeDecodeError, csv.Error) as e:
    raise UserError(f"{path}: cannot be read ({e})") from e
