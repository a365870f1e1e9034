r"""A2D-Sentences: every query of the annotated frames is a detection.

  sgmg evaluate --config=eval/a2d --checkpoint=CHECKPOINT \
      --out=runs/eval_a2d --config.data.root=/data

The model sees 5 frames around the annotated one.
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, split="test")
  return common.evaluation(
    name="a2d",
    folder="a2d_sentences",
    split=arg["split"],
    window=5,
  )
