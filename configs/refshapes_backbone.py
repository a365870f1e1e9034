r"""A backbone for SgMg `mini`, pre-trained on RefShapes, on a CPU.

  sgmg pretrain --config=configs/refshapes_backbone.py --workdir=runs/backbone
  sgmg train --config=configs/refshapes.py:stage=1 --workdir=runs/stage1 \
      --config.init_from=runs/backbone/model

The paper's backbone has seen Kinetics, this one nothing: here every cell of
its stride-8, -16 and -32 maps learns to name the shape, colour, texture, size
and motion of the object that it shows (`sgmg_jax/training/pretrain.py`).

About an hour on two cores, with one device each:

  XLA_FLAGS=--xla_force_host_platform_device_count=2 sgmg pretrain ...

No scene is drawn twice, so the accuracies logged are those on unseen scenes.
In a shorter run 1500 steps of single frames taught 99 % of the cells of stride
16 that show an object to name its colour, 93 % its texture, 93 % its size and
53 %, still rising, its shape (stride 8: 99, 90, 82 and 19 %). After 600 steps
more on clips of 4 frames velocity and travel were off by 0.3 of the frame's
short side on average, from 0.8 at first.

Smoke test, under two minutes on two cores:

  sgmg pretrain --config=configs/refshapes_backbone.py:runlocal \
      --workdir=/tmp/backbone
"""

import common
from ml_collections import ConfigDict


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="mini")
  config = ConfigDict()
  config.seed = 0
  # (frames of a clip, clips, steps, highest learning rate) each: single frames
  # for the looks, then clips for the motion.
  config.phases = ((1, 16, 3000, 2e-3), (6, 4, 1500, 1e-3))

  # Clips.
  config.data = ConfigDict(dict(height=160, width=160))
  config.loader = ConfigDict(dict(num_workers=1, prefetch=8))

  # Logs and checkpoints.
  config.log_every = 50
  config.checkpoint_every = 500
  config.keep_checkpoints = 2

  # Model; of its sizes only the backbone's matter.
  config.model = ConfigDict(dict(name=arg["model"]))

  # Optimiser.
  config.optimizer = ConfigDict(dict(weight_decay=5e-4, grad_clip=1.0))
  # In each phase, from 0 to the learning rate and down to this part of it.
  config.schedule = ConfigDict(dict(warmup_steps=50, final_factor=0.05))

  # The checkpoint that the run leaves behind.
  config.export = ConfigDict()
  config.export.name = "refshapes-backbone"
  config.export.licence = "Apache-2.0"

  if arg["runlocal"]:
    config.phases = ((1, 2, 3, 1e-3), (2, 2, 3, 1e-3))
    config.data.height = 96
    config.data.width = 96
    config.log_every = 1
    config.checkpoint_every = 2
    config.schedule.warmup_steps = 1
  return config
