"""Pre-training of parts of a model that is trained from scratch.

What remains of a run is a checkpoint of the part, for `init_from`.
"""

from __future__ import annotations

import os
import pathlib

from ml_collections import ConfigDict

from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.training import pretrain_loop, pretrain_text, pretrain_video


def pretrain(config: ConfigDict, workdir: str | os.PathLike) -> None:
  """Trains what `config.pretrain` names and exports it; goes on from the last
  checkpoint.

  Args:
    config: see `configs/refshapes_video.py` and `configs/refshapes_text.py`.
    workdir: folder of the run: `checkpoints/`, `metrics.jsonl`, TensorBoard
      events, `config.json`, and the exported `model/`.

  Raises:
    UserError: the config does not fit the model or the workdir.
    FloatingPointError: a loss became infinite or NaN.
  """
  if config.pretrain not in ("video", "text"):
    raise UserError(
      f"pretrain: expected one of text, video, got {config.pretrain!r}"
    )
  folder = pathlib.Path(workdir).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  variant = variants.get_variant(**config.model)
  if config.pretrain == "text":
    task = pretrain_text.make_task(config, variant, folder)
  else:
    task = pretrain_video.make_task(config, variant)
  pretrain_loop.run(task, variant, config, folder)
