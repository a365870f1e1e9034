"""Pre-training of parts of a model that is trained from scratch.

What remains of a run is a checkpoint of the part, for `init_from`.
"""

from __future__ import annotations

import os

from ml_collections import ConfigDict

from sgmg_jax.errors import UserError
from sgmg_jax.model import variants
from sgmg_jax.pretraining import phases, text, video
from sgmg_jax.training import interrupt
from sgmg_jax.training import workdir as workdir_lib


def pretrain(
  config: ConfigDict,
  workdir: str | os.PathLike,
  stop: interrupt.Stop | None = None,
) -> None:
  """Trains what `config.pretrain` names and exports it; goes on from the last
  checkpoint.

  Args:
    config: see `configs/refshapes_video.py` and `configs/refshapes_text.py`.
    workdir: folder of the run: `checkpoints/`, `metrics.jsonl`, TensorBoard
      events, `config.json`, and the exported `model/`.
    stop: how the run is told to save and stop, see `interrupt.watch`.

  Raises:
    UserError: the config does not fit the model or the workdir, or another
      run uses that.
    FloatingPointError: a loss, or what is trained, became infinite or NaN.
    interrupt.Interrupted: `stop` was requested; the text says what is saved.
  """
  if config.pretrain not in ("video", "text"):
    raise UserError(
      f"pretrain: expected one of text, video, got {config.pretrain!r}"
    )
  variant = variants.get_variant(**config.model)
  with workdir_lib.use(workdir) as folder:
    if config.pretrain == "text":
      task = text.make_task(config, variant, folder)
    else:
      task = video.make_task(config, variant)
    stop = stop or interrupt.Stop()
    phases.run(task, variant, config, folder, stop)
