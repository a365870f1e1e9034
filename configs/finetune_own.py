r"""Your own data, from the bundled model or any checkpoint: three values.

  sgmg train --config=finetune_own --workdir=runs/mine \
      --config.init_from=refshapes-mini --config.data.root=my_data
  sgmg segment --checkpoint runs/mine/model --video video.mp4 \
      --expression "the red ball" --out out

my_data has the layout of docs/own_data.md; with a build of `sgmg data build
own`, data.root is the folder that holds it. Converted released weights make the
better start for real videos:

  sgmg convert ytvos_swin_t.pth checkpoints/sgmg_t
  sgmg train --config=finetune_own --workdir=runs/mine_t \
      --config.init_from=checkpoints/sgmg_t --config.data.root=my_data

Sizes, tokenizer, preprocessing and licence are the checkpoint's, and training
clips are as large in proportion to its frames as in the paper. The rest is the
paper's fine-tuning: 5-frame clips, 2 a step, 6 epochs, text encoder frozen,
except that the scores are kept and no clip runs backwards. With a split to
validate on, --config=finetune_own:val=valid, it is scored along the way, and
the best checkpoint is kept as runs/mine/best. Smoke test:

  sgmg train --config=finetune_own:runlocal --workdir=/tmp/mine \
      --config.init_from=refshapes-mini --config.data.root=my_data
"""

import common
from ml_collections import ConfigDict


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, val="")
  config = common.paper(
    name="own",
    # The folder itself is data.root.
    sets=(("own", "", 1),),
    num_frames=5,
    batch_size=2,
    # Those that fit the checkpoint's preprocessing; so are data.sizes.
    buckets=(),
    # As the checkpoint: its sizes; others beside the name replace them.
    model="init_from",
  )
  # One clip after the other, with the same gradient: fits a card of 24 GB
  # (docs/own_data.md). 1 where two devices share the clips.
  config.accumulation = 2
  config.init_required = common.WHOLE
  config.tokenizer.source = "init_from"
  config.checkpoint_every = 200
  config.total_epochs = 6
  config.optimizer.groups = common.groups(None, config.model.name)
  config.schedule.learning_rate = 5e-5
  config.schedule.drop_epochs = (3, 5)
  config.eval.every = 1000
  # What is learned from a model stays under its terms, too.
  config.export.licence = "init_from"
  config.export.preprocess = ConfigDict()
  if arg["val"]:
    common.add_evaluation(config, name="own", folder="", split=arg["val"])
    config.best = "own/J&F"
  if arg["runlocal"]:
    common.shorten(config)
  return config
