"""Frames of JHMDB-Sentences to score, where the published list is missing.

Only the published list gives numbers that compare with those of papers.
"""

from __future__ import annotations

import os
import pathlib

import numpy as np
import scipy.io

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.layouts import csv_file

FRAMES_PER_VIDEO = 3


def draw_samples(root: str | os.PathLike) -> list[list]:
  """Entries as in jhmdb_sentences_samples_metadata.json, by other draws.

  As the published list was made: three different frames of every video,
  among those with masks, in order. Nothing is stored, so that nobody takes
  it for the published list; the same frames are drawn each time.

  Returns:
    [video, frame file, mask file, number of masks, query] of every frame.

  Raises:
    UserError: a file is missing or malformed, or a video has too few masks.
  """
  root = pathlib.Path(root)
  samples = []
  for number, (video, query) in enumerate(queries(root)):
    folders = list(root.glob(f"Rename_Images/*/{video}"))
    if len(folders) != 1:
      raise UserError(
        f"jhmdb video {video!r}, expression {query!r}: {len(folders)} folders "
        f"of that name below {root / 'Rename_Images'}, expected one"
      )
    action = folders[0].parent.name
    masks = f"puppet_mask/{action}/{video}/puppet_mask.mat"
    num_masks = _num_masks(root / masks, video)
    random = np.random.Generator(np.random.Philox([0, number]))
    drawn = random.choice(num_masks, FRAMES_PER_VIDEO, replace=False)
    samples += [
      [
        video,
        f"./jhmdb_sentences/Rename_Images/{action}/{video}/{frame:05d}.png",
        f"./jhmdb_sentences/{masks}",
        num_masks,
        query,
      ]
      for frame in sorted((drawn + 1).tolist())
    ]
  return samples


def queries(
  root: pathlib.Path, report: problems.Report = problems.stop
) -> list[tuple[str, str]]:
  """(video, query) of every row of the annotation file.

  `report` is told of rows of another form, which are left out.

  Raises:
    UserError: the file cannot be read, or as `report`.
  """
  path = root / "jhmdb_annotation.txt"
  found = []
  for number, row in enumerate(csv_file.read(path)[1:], 2):
    if len(row) == 2:
      found.append((row[0].strip(), row[1]))
    else:
      message = f"{row}, expected video and query"
      report("malformed", message, file=path, place=f"row {number}")
  return found


def _num_masks(path: pathlib.Path, video: str) -> int:
  """Length of part_mask's last axis, without reading the masks."""
  try:
    shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
    num_masks = shapes["part_mask"][2]
  except Exception as e:
    # SciPy raises nearly anything for a damaged file.
    raise UserError(
      f"jhmdb video {video!r}: cannot read 'part_mask' of {path} ({e})"
    ) from e
  if num_masks < FRAMES_PER_VIDEO:
    raise UserError(
      f"jhmdb video {video!r}: {num_masks} masks in {path}, expected at least "
      f"{FRAMES_PER_VIDEO}"
    )
  return num_masks
