r"""SgMg on RefCOCO/+/g and Ref-YouTube-VOS at once, in place of two stages.

From Video Swin (Kinetics) and RoBERTa, 9 epochs:

  sgmg convert swin_tiny_patch244_window877_kinetics400_1k.pth init/swin
  sgmg convert roberta-base/ init/roberta
  sgmg train --config=joint --workdir=runs/joint \
      --config.data.root=/data --config.init_from=init/swin,init/roberta

Below data.root lie coco/ and refer_youtube_vos/, as of `refcoco_pretrain` and
`refer_ytvos`. Images become clips of 5 frames, each moved a little from the one
before; the rest is `refer_ytvos:scratch`, and so are its arguments, such as
--config=joint:model=video_swin_b,evals.

The released code can train so and its published weights were not: the paper has
no result. ReferFormer, whose data these are, gains by it on Ref-YouTube-VOS.
Smoke test on a miniature of the data:

  sgmg train --config=joint:runlocal --workdir=/tmp/joint \
      --config.data.root=MINIATURE
"""

import refer_ytvos


def get_config(arg=None):
  if arg != "help":
    arg = ",".join(filter(None, ("mix=joint", "scratch", arg)))
  config = refer_ytvos.get_config(arg)
  config.export.name = "joint"
  return config
