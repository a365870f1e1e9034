"""Zips for the servers of Ref-YouTube-VOS and MeViS, validated first."""

from __future__ import annotations

import dataclasses
import functools
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import mask_files, mask_videos, mask_writer
from sgmg_jax.evaluation import truth as truth_lib
from sgmg_jax.files import atomic
from sgmg_jax.files import tree as tree_lib

# Folder of the videos in the zip. Ref-YouTube-VOS: the pages of the 2019 and
# 2021 challenges; MeViS: "directly packages" the videos, says its README.
TOP: Final = {"refer_ytvos": "Annotations/", "mevis": ""}
# Split that the server scores.
SPLITS: Final = {"refer_ytvos": "valid", "mevis": "valid"}


@dataclasses.dataclass(frozen=True)
class Summary:
  """What was packed: numbers, and for people what was left out."""

  videos: int
  expressions: int
  masks: int
  notes: tuple[str, ...]


def pack(
  truth: truth_lib.Truth,
  predictions: str | os.PathLike,
  out: str | os.PathLike,
  *,
  overwrite: bool = False,
  run: Callable[..., Iterable[Any]] = map,
) -> Summary:
  """Validate masks and write them into a zip.

  Every mask is decoded and written anew, grey with 0 and 255, as the released
  evaluations write them.

  Args:
    truth: the split; its ground truth is not asked for.
    predictions: folder or zip of `[Annotations/]<video>/<expression>/
      <frame>.png`.

  Raises:
    Unusable: masks are missing, of another size or wrongly encoded; names
      all.
    UserError: there is no server for this data set, or there are no masks.
  """
  if truth.name not in TOP:
    raise UserError(
      f"{truth.path}: no server takes masks of {truth.name}, expected "
      f"{' or '.join(TOP)} (--data says which it is)"
    )
  source = truth.sentences
  frames = {e.video: source.video(e.video).frames for e in source.expressions}
  wanted = {(e.video, e.id): frames[e.video] for e in source.expressions}
  what = f"{mask_videos.LAYOUT} of {truth.name} {truth.split}"
  masks, faults = mask_files.open_wanted(predictions, wanted, what)
  files = {key: masks.find(key, names) for key, names in wanted.items()}
  jobs = [
    (
      [name for name in files[e.video, e.id] if name],
      source.video(e.video).size,
    )
    for e in source.expressions
  ]
  for found in run(functools.partial(_check, masks.tree), jobs):
    faults += found
  notes = mask_files.accept(faults, predictions, allow_missing=False, hint="")
  with (
    atomic.output(out, overwrite=overwrite) as new,
    # PNG files do not become smaller.
    zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive,
  ):
    for (video, expression), names in wanted.items():
      for frame, file in zip(names, files[video, expression]):
        mask = mask_files.read_mask(masks.tree, file)
        archive.writestr(
          f"{TOP[truth.name]}{video}/{expression}/{frame}.png",
          mask_writer.encode_mask(mask),
        )
  return Summary(
    len(frames), len(wanted), sum(map(len, wanted.values())), tuple(notes)
  )


def _check(
  tree: tree_lib.Tree, job: tuple[Sequence[str], tuple[int, int]]
) -> faults_lib.Faults:
  """Decode the masks of a sentence, files of one size."""
  faults = faults_lib.Faults()
  files, size = job
  for start in range(0, len(files), 8):
    mask_files.read_masks(tree, files[start : start + 8], size, faults)
  return faults
