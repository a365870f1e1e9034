"""Make single-frame examples of A2D-Sentences from its text annotations.

MTTR distributes them as a2d_sentences_single_frame_{train,test}_annotations
.json; this makes the same lists from what the data set itself contains.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.layouts import csv_file
from sgmg_jax.input_pipeline.sets.a2d import annotation

# The last column of videoset.csv.
SUBSETS = {"train": "0", "test": "1"}

TEXT_FILE = "text_annotations/a2d_annotation.txt"
MISSED_FILE = "text_annotations/a2d_missed_videos.txt"
ANNOTATION_FOLDER = "text_annotations/a2d_annotation_with_instances"

# Of `TEXT_FILE`.
COLUMNS = ["video_id", "instance_id", "query"]

# A video of the training set holds a row with this instead of an id.
_DUPLICATE = "1 (copy)"


class Row(NamedTuple):
  """A row of a2d_annotation.txt: number from 1, and fields as stored."""

  number: int
  video: str
  instance: str
  text: str


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
  root = pathlib.Path(root)
  subsets, missed = videos(root), missed_videos(root)
  frames: dict[str, list[tuple[int, list[int]]]] = {}
  examples = []
  for row in read_rows(root):
    if subsets.get(row.video) != split or row.video in missed:
      continue
    instance = instance_id(row, root)
    if instance is None:
      continue
    if row.video not in frames:
      frames[row.video] = [
        (frame, annotation.instance_ids(path))
        for frame, path in annotated_frames(root, row.video).items()
      ]
    examples += [
      [row.text.lower(), row.video, frame, instance]
      for frame, instances in frames[row.video]
      if instance in instances
    ]
  return examples


def videos(
  root: pathlib.Path, report: problems.Report = problems.stop
) -> dict[str, str]:
  """Split by video; `report` is told of lines of another form."""
  names = {number: split for split, number in SUBSETS.items()}
  path = root / "Release" / "videoset.csv"
  found = {}
  for number, row in enumerate(csv_file.read(path), 1):
    if len(row) == 9 and row[8].strip() in names:
      found[row[0].strip()] = names[row[8].strip()]
    else:
      message = f"{row}, expected 9 columns, the last 0 or 1"
      report("malformed", message, file=path, place=f"line {number}")
  return found


def missed_videos(root: pathlib.Path) -> set[str]:
  """Videos without annotations."""
  return {row[0].strip() for row in csv_file.read(root / MISSED_FILE)}


def read_rows(
  root: pathlib.Path, report: problems.Report = problems.stop
) -> list[Row]:
  """All sentences; `report` is told of rows of another form."""
  path = root / TEXT_FILE
  header, *rows = csv_file.read(path) or [[]]
  if [field.strip() for field in header] != COLUMNS:
    report("malformed", f"header {header}, expected {COLUMNS}", file=path)
  found = []
  for number, row in enumerate(rows, 2):
    if len(row) == len(COLUMNS):
      found.append(Row(number, row[0].strip(), row[1].strip(), row[2]))
    else:
      message = f"{row}, expected three columns"
      report("malformed", message, file=path, place=f"row {number}")
  return found


def instance_id(
  row: Row, root: pathlib.Path, report: problems.Report = problems.stop
) -> int | None:
  """Id of the instance that a row describes, None without a usable one."""
  if row.instance.isdecimal():
    return int(row.instance)
  if row.instance != _DUPLICATE:
    report(
      "object-id-malformed",
      f"video {row.video!r}, expression {row.text!r}: instance "
      f"{row.instance!r}, expected an integer",
      file=root / TEXT_FILE,
      video=row.video,
      expression=f"line {row.number}",
    )
  return None


def annotated_frames(
  root: pathlib.Path, video: str, report: problems.Report = problems.stop
) -> dict[int, pathlib.Path]:
  """Files of a video's annotated frames by number from 1, in order.

  `report` is told if there is none, and of files of other names.
  """
  folder = root / ANNOTATION_FOLDER / video
  paths = sorted(folder.glob("*.h5"))
  if not paths:
    report(
      "mask-missing",
      f"no annotated frames of a2d video {video!r}, which is not in "
      "a2d_missed_videos.txt either",
      file=folder,
      video=video,
    )
  found = {}
  for path in paths:
    if path.stem.isdecimal():
      found[int(path.stem)] = path
    else:
      message = "expected a frame number as its name"
      report("frame-index", message, file=path, video=video)
  return found
