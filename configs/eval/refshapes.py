r"""RefShapes, drawn when asked for; also against swapped sentences.

  sgmg evaluate --config=eval/refshapes --checkpoint=refshapes-mini \
      --out=runs/eval_refshapes

All sentences of the first `clips` clips of the split.
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, split="test", clips=500, frames=6, res=160)
  return common.evaluation(
    name="refshapes",
    folder="",
    split=arg["split"],
    options=dict(
      num_clips=arg["clips"],
      num_frames=arg["frames"],
      height=arg["res"],
      width=arg["res"],
      expressions_per_clip=0,
    ),
  )
