"""MeViS as downloaded (Ding et al., ICCV 2023; version 2, TPAMI 2025).

```
<split>/JPEGImages/<video>/<frame>.jpg
<split>/meta_expressions.json   version 2: meta_expressions_v2.json,
                                in split valid meta_expressions_v2_release.json
<split>/mask_dict.json          {"<anno_id>": [COCO RLE or null per frame]}
```

Splits are train, valid_u and valid, whose ground truth is not public. A
sentence refers to one or several objects, in version 2 also to none.
Annotation ids are unique over all videos of a split and serve as object ids;
those that no sentence refers to belong to no video and are never read. Masks
of two objects may overlap.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import problems, source
from sgmg_jax.input_pipeline.layouts import (
  frame_folders,
  mask_dict,
  meta_expressions,
)
from sgmg_jax.input_pipeline.sets.mevis.about import ABOUT

SPLITS = ABOUT.splits["mevis"]
FILES = {
  1: {split: "meta_expressions.json" for split in SPLITS},
  2: {
    "train": "meta_expressions_v2.json",
    "valid_u": "meta_expressions_v2.json",
    "valid": "meta_expressions_v2_release.json",
  },
}


class MeViS(frame_folders.FrameFolders):
  """A split of MeViS; frames and masks keep the order of the file.

  Attributes:
    file: with the sentences.
    masks: None without ground truth.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str,
    *,
    version: int | None = None,
    report: problems.Report = problems.stop,
  ):
    """Open a split; masks are not read before they are asked for.

    Args:
      version: of the sentences, 1 or 2; None takes what is there, version 1
        of both.

    Raises:
      UserError: no such split, no sentences that can be read, or as `report`.
    """
    if split not in SPLITS:
      raise UserError(f"mevis split {split!r}: expected one of {SPLITS}")
    if version not in (None, *FILES):
      raise UserError(f"mevis version {version!r}: expected 1 or 2")
    folder = pathlib.Path(path) / split
    self.file = _sentence_file(folder, version)
    public = split != "valid"
    content = meta_expressions.read(
      self.file,
      objects="required" if public else "optional",
      key="anno_id",
      ids=mask_dict.IDS,
      no_target=self.file.name == FILES[2][split],
      report=report,
    )
    super().__init__(
      "mevis",
      split,
      folder / "JPEGImages",
      content.frames,
      content.expressions,
      report=report,
    )
    self.masks = None
    if content.has_objects:
      self.masks = mask_dict.MaskDict(folder / "mask_dict.json", report)
    self._annotations: dict[str, set[int]] = {}
    for e in content.expressions:
      self._annotations.setdefault(e.video, set()).update(e.object_ids)

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    what = f"mevis video {video!r}"
    truth = self._truth(what)
    size = self.video(video).size
    found = {}
    for object_id in sorted(self._annotations.get(video, ())):
      mask = truth.decode(object_id, index, size, what)
      if mask is not None and mask.any():
        found[object_id] = mask
    return found

  def read_masks(
    self, expression: source.Expression, indices: Sequence[int]
  ) -> np.ndarray:
    # Decodes only the objects asked for; the base class takes all.
    what = f"mevis expression {expression.key}"
    truth = self._truth(what)
    size = self.video(expression.video).size
    masks = np.zeros((len(indices), *size), bool)
    for row, index in enumerate(indices):
      for object_id in expression.object_ids:
        mask = truth.decode(object_id, index, size, what)
        if mask is not None:
          masks[row] |= mask
    return masks

  def _truth(self, what: str) -> mask_dict.MaskDict:
    if self.masks is None:
      raise UserError(
        f"mevis {self.split} has no public ground truth: asked for that of "
        f"{what}"
      )
    return self.masks


def _sentence_file(folder: pathlib.Path, version: int | None) -> pathlib.Path:
  first, second = (folder / FILES[v][folder.name] for v in (1, 2))
  if version is None:
    version = 2 if second.exists() and not first.exists() else 1
  return second if version == 2 else first
