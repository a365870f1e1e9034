r"""The video side of SgMg `mini`, pre-trained on RefShapes, on a CPU.

  sgmg pretrain --config=refshapes_video --workdir=runs/video
  sgmg train --config=refshapes:stage=1 --workdir=runs/stage1 \
      --config.init_from=runs/video/model

The paper's backbone has seen Kinetics, this one nothing: here every cell of
the stride-8, -16 and -32 maps that words are fused into learns to name the
shape, colour, texture and size of the object that it shows, and which of the
things that sentences say about motion and order are true of it, and whether it
passes in front of another or behind one
(`sgmg_jax/pretraining/cell_heads.py`). That trains the backbone, the
projections to the model's width and the pre-augmentation.

An hour and a quarter on two cores, with one device each:

  XLA_FLAGS=--xla_force_host_platform_device_count=2 sgmg pretrain ...

No scene is drawn twice, so the accuracies logged are those on unseen scenes.
The heads are linear and behind the projections. Perceptrons on the backbone's
own maps named 90 % of the shapes, but no linear map could read them there, and
so not the model: it masked 63 % of the distractors that differ in shape alone
(in colour alone: 2 %). Linear heads, trained with the projections, came to name
the shape in 94 % of the cells of stride 16 that show an object and in 73 % of
those of stride 8, within 700 steps of 16 single frames (colour 99 %, texture
98 %, size 97 %).

What an object does was not learned from its velocity, as numbers: the error
stayed above that of the median. Told which sentences are true of it, the heads
know after 200 steps of 8 clips of 3 frames who moves.

Smoke test, under two minutes on two cores:

  sgmg pretrain --config=refshapes_video:runlocal \
      --workdir=/tmp/video
"""

import common
from ml_collections import ConfigDict


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="mini")
  config = ConfigDict()
  # What is pre-trained.
  config.pretrain = "video"
  config.seed = 0
  # (frames of a clip, clips, steps, highest learning rate) each: single frames
  # for the looks, then clips for the motion.
  config.phases = ((1, 16, 1500, 3e-3), (3, 8, 2500, 3e-3))
  # Of the loss of what objects do beside that of their looks.
  config.motion_weight = 2.5

  # Clips; at least 144 pixels a side, in multiples of 32. One of more than a
  # frame is cut out of a scene of `scene_frames`; 0: it is the whole scene.
  config.data = ConfigDict(dict(height=160, width=160, scene_frames=6))
  config.loader = ConfigDict(dict(num_workers=1, prefetch=8))

  common.add_logs(config, checkpoint_every=500)

  # Model; of its sizes only the backbone's and `width` matter.
  config.model = ConfigDict(dict(name=arg["model"]))
  # Of float32 products on accelerators, "highest" or "default", see common.py.
  config.precision = "highest"
  # A native checkpoint, whole or part, to start from.
  config.init_from = ""

  # Optimiser.
  config.optimizer = ConfigDict(
    dict(name="muon", weight_decay=5e-4, grad_clip=1.0)
  )
  # In each phase, from 0 to the learning rate and down to this part of it.
  config.schedule = ConfigDict(dict(warmup_steps=50, final_factor=0.05))

  common.add_devices(config)

  # The checkpoint that the run leaves behind.
  config.export = ConfigDict()
  config.export.name = "refshapes-video"
  config.export.licence = "Apache-2.0"

  if arg["runlocal"]:
    config.phases = ((1, 2, 3, 1e-3), (2, 2, 3, 1e-3))
    config.log_every = 1
    config.checkpoint_every = 2
    config.schedule.warmup_steps = 1
  return config
