r"""Ref-DAVIS17: clips of 36 frames, objects of an annotator merged.

  sgmg evaluate --config=eval/refer_davis --checkpoint=CHECKPOINT \
      --out=runs/eval_davis --config.data.root=/data

The reported numbers are the mean of the four annotators (SgMg, ICCV 2023,
table 2; protocol of davis2017-evaluation, task "unsupervised").
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, split="valid")
  return common.evaluation(
    name="refer_davis",
    folder="refer_davis",
    split=arg["split"],
    window=36,
  )
