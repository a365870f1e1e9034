"""Ref-DAVIS17, as downloaded or in the layout of Ref-YouTube-VOS.

```
DAVIS/JPEGImages/480p/<video>/<frame>.jpg            as downloaded
DAVIS/Annotations_unsupervised/480p/<video>/<frame>.png
DAVIS/ImageSets/2017/{train,val}.txt
davis_text_annotations/Davis17_annot{1,2}[_full_video].txt

<split>/JPEGImages/<video>/<frame>.jpg               converted
<split>/Annotations/<video>/<frame>.png
meta_expressions/<split>/meta_expressions.json
```

Either may have or lack the level `480p`, and each part is taken from the
converted layout if it is there. Masks are those of the "unsupervised"
re-annotation of 2019, whose objects need not be those described; 255 is void,
which counts as background in training.
"""

from __future__ import annotations

import os
import pathlib

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.layouts import frame_folders, meta_expressions
from sgmg_jax.input_pipeline.sets.refer_davis import convert

VOID = 255
# Sentences about one object: two people, first frame and full video.
ANNOTATORS = 4


class ReferDAVIS(frame_folders.LabelFolders):
  """A split of Ref-DAVIS17; expression k is of annotator k % 4."""

  def __init__(
    self,
    path: str | os.PathLike,
    split: str,
    *,
    report: problems.Report = problems.stop,
  ):
    """Open a split; the text files are converted in memory if need be.

    Args:
      report: is told of faults that leave the rest usable, such as another
        number of a video's sentences than a multiple of 4.

    Raises:
      UserError: no such split, nothing to read, or as `report`.
    """
    if split not in convert.VIDEO_LISTS:
      raise UserError(f"refer_davis split {split!r}: expected train or valid")
    root = pathlib.Path(path)
    content = _expressions(root, split, report)
    super().__init__(
      "refer_davis",
      split,
      _first_folder(root / split / "JPEGImages", root / "DAVIS/JPEGImages"),
      content.frames,
      content.expressions,
      annotations=_first_folder(
        root / split / "Annotations",
        root / split / "Annotations_unsupervised",
        root / "DAVIS/Annotations_unsupervised",
      ),
      void=VOID,
      report=report,
    )


def expression_file(root: pathlib.Path, split: str) -> pathlib.Path:
  """Path of a split's sentences: a file, or the folder of texts."""
  path = root / "meta_expressions" / split / "meta_expressions.json"
  return path if path.exists() else root / convert.TEXT_FOLDER


def _expressions(
  root: pathlib.Path, split: str, report: problems.Report
) -> meta_expressions.MetaExpressions:
  # 255 cannot be an object.
  options = {"objects": "required", "ids": range(1, VOID), "report": report}
  where = expression_file(root, split)
  if where.suffix:
    content = meta_expressions.read(where, **options)
  else:
    if not where.is_dir():
      report(
        "file-missing",
        f"expected the folder {convert.TEXT_FOLDER} as downloaded, or "
        f"meta_expressions/{split}/meta_expressions.json",
        file=root,
      )
    raw = convert.read_raw(root, split, report)
    content = meta_expressions.parse(raw, where, **options)
  counts = dict.fromkeys(content.frames, 0)
  for expression in content.expressions:
    counts[expression.video] += 1
  for video, count in counts.items():
    if count % ANNOTATORS:
      report(
        "annotators",
        f"video {video!r} has {count} expressions, expected a multiple of "
        f"{ANNOTATORS}, one of each annotator for each object",
        file=where,
        video=video,
      )
  return content


def _first_folder(*folders: pathlib.Path) -> pathlib.Path:
  """The first that exists, at its level of videos; else the last."""
  found = next((f for f in folders if f.is_dir()), folders[-1])
  return convert.frame_folder(found)
