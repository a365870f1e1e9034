r"""Ref-YouTube-VOS, whole videos, one query for all frames of a sentence.

  sgmg evaluate --config=eval/refer_ytvos --checkpoint=CHECKPOINT \
      --out=runs/eval_ytvos --config.data.root=/data

Below data.root lies refer_youtube_vos/. Ground truth of the split valid is
scored where its masks lie in valid/Annotations/; without them masks are
predicted for `sgmg submit`.
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, split="valid")
  return common.evaluation(
    name="refer_ytvos",
    folder="refer_youtube_vos",
    split=arg["split"],
  )
