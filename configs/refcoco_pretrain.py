r"""SgMg on RefCOCO, RefCOCO+ and RefCOCOg together: the paper's pre-training.

From Video Swin (Kinetics) and RoBERTa, which are on their authors' pages and
on the Hugging Face hub:

  sgmg convert swin_tiny_patch244_window877_kinetics400_1k.pth init/swin
  sgmg convert roberta-base/ init/roberta
  sgmg train --config=refcoco_pretrain --workdir=runs/refcoco \
      --config.data.root=/data --config.init_from=init/swin,init/roberta

Below data.root lies coco/ with train2014/, refcoco/, refcoco+/ and refcocog/
as downloaded, or the sets built by `sgmg data build`.

Single images, 4 a step (the paper: two on each of two GPUs), 12 epochs of
321,327 sentences (964,000 steps), text encoder trained. What it is worth shows
behind `refer_ytvos` and `a2d`, which start from it. Smoke test on a miniature
of the data:

  sgmg train --config=refcoco_pretrain:runlocal \
      --workdir=/tmp/refcoco --config.data.root=MINIATURE
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="")
  names = ("refcoco", "refcoco+", "refcocog")
  config = common.paper(
    name="refcoco-pretrain",
    sets=tuple((name, "coco", 1) for name in names),
    num_frames=1,
    batch_size=4,
    buckets=common.IMAGE_BUCKETS,
    model=arg["model"] or ("mu" if arg["runlocal"] else "video_swin_t"),
  )
  config.total_epochs = 12
  config.optimizer.groups = common.groups(0.1, config.model.name)
  config.schedule.learning_rate = 2.5e-5
  config.schedule.drop_epochs = (8, 10)
  if arg["runlocal"]:
    common.shrink(config)
  return config
