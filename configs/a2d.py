r"""SgMg on A2D-Sentences, from the RefCOCO weights (ICCV 2023, table 3).

From the weights that `refcoco_pretrain` leaves:

  sgmg train --config=a2d --workdir=runs/a2d \
      --config.data.root=/data --config.init_from=runs/refcoco/model

Below data.root lies a2d_sentences/ as downloaded, or built by
`sgmg data build`.

5-frame clips of which one frame is annotated: the backbone sees all, the rest
of the model that one. 4 clips a step (the paper: two on each of two GPUs),
6 epochs, text encoder frozen; --config=a2d:evals scores the test split along
the way. The paper has, with Video Swin tiny, an overall IoU of 78.0 and a mean
IoU of 70.4 on A2D, and with the same weights 72.8 and 71.7 on JHMDB (the tables
of the released code have the two headings swapped). Smoke test on a miniature
of the data:

  sgmg train --config=a2d:runlocal --workdir=/tmp/a2d \
      --config.data.root=MINIATURE
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="", evals=False)
  config = common.paper(
    name="a2d",
    sets=(("a2d", "a2d_sentences", 1),),
    num_frames=5,
    batch_size=4,
    buckets=common.VIDEO_BUCKETS,
    model=arg["model"] or ("mu" if arg["runlocal"] else "video_swin_t"),
  )
  config.total_epochs = 6
  config.init_required = common.WHOLE
  # Pre-trained scores are about other categories.
  config.reinitialise = ("class_embed_.*",)
  config.optimizer.groups = common.groups(None, config.model.name)
  config.schedule.learning_rate = 5e-5
  config.schedule.drop_epochs = (3, 5)
  config.export.preprocess.window = 5
  if arg["evals"]:
    common.add_evaluation(
      config, name="a2d", folder="a2d_sentences", split="test", window=5
    )
  if arg["runlocal"]:
    common.shrink(config)
  return config
