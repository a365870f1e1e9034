r"""Your own videos, in the layout of `docs/own_data.md`.

  sgmg evaluate --config=eval/own --checkpoint=CHECKPOINT \
      --out=runs/eval_own --config.data.root=my_data
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, split="valid")
  return common.evaluation(
    name="own",
    folder="",
    split=arg["split"],
  )
