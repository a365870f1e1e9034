"""Own data: any folder in the layout of Ref-YouTube-VOS."""

from __future__ import annotations

import os
import pathlib

from sgmg_jax.input_pipeline import problems
from sgmg_jax.input_pipeline.layouts import frame_folders
from sgmg_jax.input_pipeline.sets.refer_ytvos import reader as refer_ytvos


class OwnData(frame_folders.LabelFolders):
  """Any folder in the layout of Ref-YouTube-VOS.

  Split "train" must have masks; another has them if its sentences name their
  objects in `obj_id`, and then all of them must. Frames keep the order in
  which they are listed.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str,
    *,
    report: problems.Report = problems.stop,
  ):
    """Open a split.

    Raises:
      UserError: no expressions that can be read, or as `report`.
    """
    root = pathlib.Path(path)
    content = refer_ytvos.read_expressions(root, split, report)
    folders = refer_ytvos.folders_and_content(root, split, content)
    super().__init__("own", split, **folders, report=report)
