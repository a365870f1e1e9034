r"""RefCOCO, RefCOCO+ and RefCOCOg: masks and boxes of single images.

  sgmg evaluate --config=eval/refcoco --checkpoint=CHECKPOINT \
      --out=runs/eval_refcoco --config.data.root=/data

Other sets and splits: --config=eval/refcoco:name=refcoco+,split=testA
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, name="refcoco", split="val")
  return common.evaluation(
    name=arg["name"],
    folder="coco",
    split=arg["split"],
    window=1,
  )
